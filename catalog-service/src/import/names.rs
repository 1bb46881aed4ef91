//! Names and texts of documents, as manifests write them.

use unicode_normalization::UnicodeNormalization;

/// Longest key and tagline of a manifest.
pub(super) const SHORT: usize = 32;

/// `getOrder-byId V2` → `get_order_by_id_v2`; letters of other scripts as Latin ones. `None` when nothing is left.
pub(super) fn snake(text: &str) -> Option<String> {
    let mut snake = String::new();
    let mut lower = false;
    for c in latin(text).chars() {
        if !c.is_ascii_alphanumeric() {
            lower = false;
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        if c.is_ascii_uppercase() && lower {
            snake.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    let snake = snake.trim_matches('_');
    let first = snake.bytes().next()?;
    Some(if first.is_ascii_lowercase() { snake.to_owned() } else { format!("x{snake}") })
}

/// The first of `name`, `name_2`, `name_3`… that is free.
pub(super) fn free(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut number = 1;
    while !is_free(&candidate) {
        number += 1;
        candidate = format!("{name}_{number}");
    }
    candidate
}

/// In letters of ASCII, as far as they can be written so; what cannot is a space.
fn latin(text: &str) -> String {
    let mut latin = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            latin.push(c);
        } else if let Some(letters) = c.to_lowercase().next().and_then(cyrillic) {
            let mut letters = letters.chars();
            // A capital begins a word here as well.
            let first = letters.next().map(|first| if c.is_uppercase() { first.to_ascii_uppercase() } else { first });
            latin.extend(first.into_iter().chain(letters));
        } else {
            let before = latin.len();
            latin.extend(c.nfkd().filter(char::is_ascii));
            if latin.len() == before {
                latin.push(' ');
            }
        }
    }
    latin
}

/// A small letter as passports write it (ICAO 9303), but for the hard sign, which is left out as the soft one is.
fn cyrillic(letter: char) -> Option<&'static str> {
    Some(match letter {
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' | 'ґ' => "g",
        'д' => "d",
        'е' | 'ё' | 'э' => "e",
        'є' => "ie",
        'ж' => "zh",
        'з' => "z",
        'и' | 'і' | 'ї' | 'й' => "i",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' | 'ў' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ъ' | 'ь' => "",
        'ы' => "y",
        'ю' => "iu",
        'я' => "ia",
        _ => return None,
    })
}

/// At most as long as a key and a tagline may be, and not in the midst of a word where that can be helped.
pub(super) fn short(text: &str) -> String {
    let cut: String = text.chars().take(SHORT).collect();
    let is_gap = |c: char| c == '_' || c == ' ';
    let in_word = text.chars().nth(SHORT).is_some_and(|next| !is_gap(next));
    let end = cut.rfind(is_gap).filter(|end| in_word && *end > SHORT / 2).unwrap_or(cut.len());
    cut[..end].trim_end_matches(is_gap).to_owned()
}

/// Tags of HTML that part words, and those that do not.
const BLOCKS: [&str; 14] = ["p", "br", "div", "ul", "ol", "li", "h1", "h2", "h3", "h4", "table", "tr", "td", "pre"];
const INLINE: [&str; 8] = ["a", "b", "i", "u", "em", "strong", "code", "span"];

/// On one line, without the tags of HTML; other words in angle brackets stay.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        let inside = after.split_once('>');
        let name = |tag: &str| tag.trim_start_matches('/').split([' ', '/', '\n']).next().map(str::to_ascii_lowercase);
        let tag = inside.and_then(|(tag, _)| name(tag)).unwrap_or_default();
        match inside {
            Some((_, after)) if INLINE.contains(&tag.as_str()) => rest = after,
            Some((_, after)) if BLOCKS.contains(&tag.as_str()) => {
                plain.push(' ');
                rest = after;
            }
            _ => {
                plain.push('<');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All of it on one line, `longest` characters at most.
pub(super) fn line(text: &str, longest: usize) -> String {
    plain(text).chars().take(longest).collect::<String>().trim_end().to_owned()
}

/// The first sentence, on one line, with a full stop or an ellipsis; `longest` characters at most.
pub(super) fn sentence(text: &str, longest: usize) -> String {
    let line = plain(text);
    let first = line.split_inclusive(". ").next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let fits = first.chars().count() < longest;
    let mut cut: String = first.chars().take(longest - 1).collect();
    cut.push(if fits { '.' } else { '…' });
    cut
}

/// As [`sentence`], without the full stop: a label or a description.
pub(super) fn phrase(text: &str, longest: usize) -> String {
    sentence(text, longest).trim_end_matches('.').to_owned()
}

/// The first `most` of them, and an ellipsis where there are more.
pub(super) fn some<T: AsRef<str>>(all: &[T], most: usize) -> String {
    let named: Vec<&str> = all.iter().take(most).map(AsRef::as_ref).collect();
    format!("{}{}", named.join(", "), if all.len() > most { ", …" } else { "" })
}
