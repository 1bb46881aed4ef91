//! Which line of a YAML file a value stands on.

use std::collections::HashMap;

use plugboard_core::json_pointer::child;
use serde_saphyr::granit_parser::{Event, Parser};

/// Line of every value, by JSON pointer (RFC 6901).
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<String, usize>);

/// A collection that is being read.
enum Frame {
    Mapping { pointer: String, key: Option<String> },
    Sequence { pointer: String, next: usize },
}

impl Lines {
    /// Reads as far as the text is YAML.
    pub(crate) fn of(text: &str) -> Self {
        let mut lines = Self::default();
        let mut open: Vec<Frame> = Vec::new();
        for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
            let line = span.start.line();
            match event {
                Event::MappingStart(..) => {
                    let pointer = lines.place(&mut open, line);
                    open.push(Frame::Mapping { pointer, key: None });
                }
                Event::SequenceStart(..) => {
                    let pointer = lines.place(&mut open, line);
                    open.push(Frame::Sequence { pointer, next: 0 });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                }
                Event::Scalar(value, ..) => match open.last_mut() {
                    Some(Frame::Mapping { pointer, key: key @ None }) => {
                        // The key's line is where a reader looks; the value keeps it.
                        lines.0.insert(child(pointer, &value), line);
                        *key = Some(value.into_owned());
                    }
                    _ => {
                        lines.place(&mut open, line);
                    }
                },
                Event::Alias(_) => {
                    lines.place(&mut open, line);
                }
                _ => {}
            }
        }
        lines
    }

    /// Line of the value, or of the closest thing around it that has one.
    pub(crate) fn at(&self, pointer: &str) -> Option<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.0.get(pointer) {
                return Some(*line);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// Pointer of the deepest value on a line.
    pub(crate) fn pointer_at(&self, line: usize) -> Option<&str> {
        let on_line = self.0.iter().filter(|(_, at)| **at == line).map(|(pointer, _)| pointer.as_str());
        on_line.max_by_key(|pointer| pointer.matches('/').count())
    }

    /// Notes where the next value stands and returns its pointer.
    fn place(&mut self, open: &mut [Frame], line: usize) -> String {
        let pointer = match open.last_mut() {
            None => String::new(),
            Some(Frame::Sequence { pointer, next }) => {
                let item = format!("{pointer}/{next}");
                *next += 1;
                item
            }
            Some(Frame::Mapping { pointer, key }) => child(pointer, &key.take().unwrap_or_default()),
        };
        self.0.entry(pointer.clone()).or_insert(line);
        pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_line() {
        let text = "a: 1\nb:\n  - x\n  - {c: 2,\n     d/e: [3]}\n";
        let lines = Lines::of(text);
        for (pointer, line) in [
            ("", 1),
            ("/a", 1),
            ("/b", 2),
            ("/b/0", 3),
            ("/b/1", 4),
            ("/b/1/c", 4),
            ("/b/1/d~1e", 5),
            ("/b/1/d~1e/0", 5),
        ] {
            assert_eq!(lines.at(pointer), Some(line), "{pointer}");
        }
        assert_eq!(lines.at("/b/1/unknown/deep"), Some(4));
        assert_eq!(lines.pointer_at(3), Some("/b/0"));
    }

    #[test]
    fn broken_text_gives_what_was_read() {
        assert_eq!(Lines::of("a: 1\nb: [").at("/a"), Some(1));
    }
}
