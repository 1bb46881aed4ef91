//! A text that matches a pattern.

use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest text that is made.
const LONGEST: usize = 256;
/// How often what may be repeated without end is repeated, until the text is long enough.
const REPEATS: [u32; 6] = [1, 4, 8, 16, 32, 64];

/// Of so many characters; other numbers make other texts, where the pattern leaves a choice. `None` for patterns that look
/// around, and where none was found.
pub(super) fn matching(pattern: &str, number: u64, least: usize, most: usize) -> Option<String> {
    let hir = Parser::new().parse(pattern).ok()?;
    let regex = regex::Regex::new(pattern).ok()?;
    REPEATS.iter().find_map(|repeats| {
        let mut text = Text { number, repeats: *repeats, written: String::new() };
        text.write(&hir);
        let length = text.written.chars().count();
        let fits = (least.max(1)..=most).contains(&length) && regex.is_match(&text.written);
        fits.then_some(text.written)
    })
}

struct Text {
    number: u64,
    repeats: u32,
    written: String,
}

impl Text {
    fn write(&mut self, hir: &Hir) {
        if self.written.len() > LONGEST {
            return;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.written.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(class) => self.written.extend(self.one_of(class)),
            HirKind::Repetition(repetition) => {
                let most = repetition.max.unwrap_or(u32::MAX);
                for _ in 0..repetition.min.max(self.repeats).min(most) {
                    self.write(&repetition.sub);
                }
            }
            HirKind::Capture(capture) => self.write(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part)),
            HirKind::Alternation(branches) => {
                if let Some(branch) = self.pick(branches.len()).and_then(|at| branches.get(at)) {
                    self.write(branch);
                }
            }
        }
    }

    /// A digit or a letter where the class has any; another one at each place.
    fn one_of(&self, class: &Class) -> Option<char> {
        let Class::Unicode(class) = class else { return None };
        let has = |c: char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
        let plain: Vec<char> = ('1'..='9').chain('a'..='z').chain('A'..='Z').chain(['0']).filter(|c| has(*c)).collect();
        match self.pick(plain.len()) {
            Some(at) => plain.get(at).copied(),
            None => class.ranges().first().map(|range| range.start()),
        }
    }

    fn pick(&self, choices: usize) -> Option<usize> {
        let place = self.written.len() as u64;
        usize::try_from(self.number.wrapping_add(place).checked_rem(choices as u64)?).ok()
    }
}
