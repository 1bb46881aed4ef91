//! The smallest HTTP/1.1 client that does: a generator must cost less than what it measures.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// How an answer says where it ends.
enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a whole request and reads the whole answer. Returns status and body.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head_end = self.until(0, b"\r\n\r\n").await? + 4;
        let head = std::str::from_utf8(&self.buffer[..head_end]).context("the head is not text")?;
        let status: u16 = head.get(9..12).context("no status")?.parse()?;
        let end = match length(head)? {
            Length::Known(length) => {
                self.fill_to(head_end + length).await?;
                head_end + length
            }
            Length::Chunked => self.join_chunks(head_end).await?,
        };
        Ok((status, &self.buffer[head_end..end]))
    }

    /// Reads chunks up to the empty one, moves what they hold together, and returns where that ends. Trailers are not
    /// understood.
    async fn join_chunks(&mut self, head_end: usize) -> anyhow::Result<usize> {
        let (mut joined, mut next) = (head_end, head_end);
        loop {
            let line_end = self.until(next, b"\r\n").await?;
            let line = std::str::from_utf8(&self.buffer[next..line_end]).context("a chunk's size is not text")?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).with_context(|| format!("a chunk of size {line}"))?;
            let begin = line_end + 2;
            self.fill_to(begin + size + 2).await?;
            if size == 0 {
                return Ok(joined);
            }
            self.buffer.copy_within(begin..begin + size, joined);
            joined += size;
            next = begin + size + 2;
        }
    }

    /// Reads until this stands somewhere after `from`; where.
    async fn until(&mut self, from: usize, what: &[u8]) -> anyhow::Result<usize> {
        loop {
            if let Some(at) = find(&self.buffer[from..], what) {
                return Ok(from + at);
            }
            self.fill().await?;
        }
    }

    async fn fill_to(&mut self, length: usize) -> anyhow::Result<()> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection was closed");
        }
        Ok(())
    }
}

fn length(head: &str) -> anyhow::Result<Length> {
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(Length::Known(value.parse()?));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok(Length::Chunked);
        }
    }
    bail!("an answer that does not tell its length: {head}")
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A POST with a JSON body.
pub fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    request.into_bytes()
}

/// `http://host:port` → `host:port`.
pub fn address(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A chunk is cut in two, the connection stays usable, and the next answer tells its length.
    #[tokio::test]
    async fn chunks_are_joined() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1];
            stream.read_exact(&mut request).await.unwrap();
            for part in [
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n1",
                "0;x=y\r\n: message",
                "\r\ndata:\r\n0\r\n\r\n",
            ] {
                stream.write_all(part.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        });
        let mut connection = Connection::open(&address).await.unwrap();
        assert_eq!(connection.exchange(b"?").await.unwrap(), (200, b"event: message\r\ndata:".as_slice()));
        assert_eq!(connection.exchange(b"?").await.unwrap(), (202, b"ok".as_slice()));
    }
}
