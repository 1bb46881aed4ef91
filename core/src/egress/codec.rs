//! Content codings, with caps that hold inside the decoder.
//!
//! Decoding happens here and not in a client library because the cap on the ratio needs to know both
//! sides, and because a cap must stop the decoder in the middle of a piece: 64 KiB on the wire can be
//! 64 MiB decoded.

use std::io::{self, Write};
use std::mem;

use brotli_decompressor::DecompressorWriter;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::error::SizeLimit;
use super::request::Caps;

/// What is offered to the other side.
pub(crate) const ACCEPT_ENCODING: &str = "gzip, br, deflate";

/// Output buffer of the brotli decoder.
const BROTLI_BUFFER: usize = 16 * 1024;

/// A decoder, or none.
pub(crate) enum Codec {
    Identity,
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// Before its first byte: servers send "deflate" both with the zlib header (RFC 9110, section
    /// 8.4.1.2) and without.
    Deflate(Sink),
    Zlib(Box<ZlibDecoder<Sink>>),
    RawDeflate(Box<DeflateDecoder<Sink>>),
    Brotli(Box<DecompressorWriter<Sink>>),
}

/// Decoded bytes, up to the caps.
pub(crate) struct Sink {
    out: Vec<u8>,
    caps: Caps,
    wire: u64,
    total: u64,
    over: Option<(SizeLimit, u64)>,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let total = self.total + data.len() as u64;
        if total > self.caps.decoded_bytes {
            self.over = Some((SizeLimit::Decoded, self.caps.decoded_bytes));
        } else if total > self.caps.ratio_free_bytes && total > self.wire.saturating_mul(self.caps.ratio) {
            self.over = Some((SizeLimit::Ratio, self.caps.ratio));
        }
        if self.over.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(data);
        self.total = total;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Codec {
    /// By the answer's headers. Several codings, or one that was not offered: the body stays as it came,
    /// and so do its headers.
    pub(crate) fn of(headers: &HeaderMap, caps: &Caps) -> Self {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Self::Identity;
        };
        let name = value.as_bytes().trim_ascii();
        let sink = Sink { out: Vec::new(), caps: *caps, wire: 0, total: 0, over: None };
        if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
            Self::Gzip(Box::new(MultiGzDecoder::new(sink)))
        } else if name.eq_ignore_ascii_case(b"br") {
            Self::Brotli(Box::new(DecompressorWriter::new(sink, BROTLI_BUFFER)))
        } else if name.eq_ignore_ascii_case(b"deflate") {
            Self::Deflate(sink)
        } else {
            Self::Identity
        }
    }

    pub(crate) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// The coding's name, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip(_) => "gzip",
            Self::Deflate(_) | Self::Zlib(_) | Self::RawDeflate(_) => "deflate",
            Self::Brotli(_) => "brotli",
        }
    }

    /// Decodes some of the body; `wire` is how much of it has come so far.
    pub(crate) fn write(&mut self, data: &[u8], wire: u64) -> io::Result<()> {
        if let Some(sink) = self.sink_mut() {
            sink.wire = wire;
        }
        match self {
            Self::Identity => Ok(()),
            Self::Gzip(decoder) => decoder.write_all(data),
            Self::Zlib(decoder) => decoder.write_all(data),
            Self::RawDeflate(decoder) => decoder.write_all(data),
            Self::Brotli(decoder) => decoder.write_all(data),
            Self::Deflate(_) => {
                let Some(first) = data.first() else {
                    return Ok(());
                };
                // RFC 1950: method 8 in the low half, and a window of at most 32 KiB in the high half.
                let zlib = first & 0x0f == 8 && first >> 4 <= 7;
                if let Self::Deflate(sink) = mem::replace(self, Self::Identity) {
                    *self = if zlib {
                        Self::Zlib(Box::new(ZlibDecoder::new(sink)))
                    } else {
                        Self::RawDeflate(Box::new(DeflateDecoder::new(sink)))
                    };
                }
                self.write(data, wire)
            }
        }
    }

    /// Makes everything that has been decoded visible to [`Codec::take`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Identity | Self::Deflate(_) => Ok(()),
            Self::Gzip(decoder) => decoder.flush(),
            Self::Zlib(decoder) => decoder.flush(),
            Self::RawDeflate(decoder) => decoder.flush(),
            Self::Brotli(decoder) => decoder.flush(),
        }
    }

    /// The body is complete; an error if the coding says that it is not.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Identity | Self::Deflate(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::RawDeflate(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
        }
    }

    /// What has been decoded since the last call.
    pub(crate) fn take(&mut self) -> Bytes {
        self.sink_mut().map(|sink| Bytes::from(mem::take(&mut sink.out))).unwrap_or_default()
    }

    /// How much has been decoded; `None` without a coding.
    pub(crate) fn total(&self) -> Option<u64> {
        self.sink().map(|sink| sink.total)
    }

    /// The cap that stopped the decoder.
    pub(crate) fn over(&self) -> Option<(SizeLimit, u64)> {
        self.sink().and_then(|sink| sink.over)
    }

    fn sink(&self) -> Option<&Sink> {
        match self {
            Self::Identity => None,
            Self::Gzip(decoder) => Some(decoder.get_ref()),
            Self::Deflate(sink) => Some(sink),
            Self::Zlib(decoder) => Some(decoder.get_ref()),
            Self::RawDeflate(decoder) => Some(decoder.get_ref()),
            Self::Brotli(decoder) => Some(decoder.get_ref()),
        }
    }

    fn sink_mut(&mut self) -> Option<&mut Sink> {
        match self {
            Self::Identity => None,
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Deflate(sink) => Some(sink),
            Self::Zlib(decoder) => Some(decoder.get_mut()),
            Self::RawDeflate(decoder) => Some(decoder.get_mut()),
            Self::Brotli(decoder) => Some(decoder.get_mut()),
        }
    }
}
