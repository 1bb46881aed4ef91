//! Vendors' words, made fit to be repeated.

/// Longest message taken from a vendor, in characters.
const MAX_MESSAGE: usize = 500;

/// One line without characters that change how text around them reads: control, bidirectional and tag characters.
pub(crate) fn tidy(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_MESSAGE + 4));
    let mut space = true;
    for (at, c) in text.chars().enumerate() {
        if at >= MAX_MESSAGE {
            line.push('…');
            break;
        }
        if c.is_whitespace() {
            if !space {
                line.push(' ');
            }
            space = true;
        } else if !is_deceptive(c) {
            line.push(c);
            space = false;
        }
    }
    line.truncate(line.trim_end().len());
    line
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// At most `bytes` bytes, cut between characters.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_one_plain_line() {
        assert_eq!(tidy("  not\r\n found\u{202e}\u{e0041}\u{0} here "), "not found here");
        assert_eq!(tidy(&"я".repeat(600)).chars().count(), 501);
    }

    #[test]
    fn clips_between_characters() {
        assert_eq!(clip("яя", 3), "я");
        assert_eq!(clip("ab", 3), "ab");
    }
}
