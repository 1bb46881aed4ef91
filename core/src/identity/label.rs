//! Account labels: what people call their accounts, and what `service:Label` names.

use unicode_normalization::UnicodeNormalization;

/// Longest label, in characters after normalisation.
pub const MAX_LABEL: usize = 64;

/// The form in which a label is kept: NFC, without white space around it.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn normalize_label(text: &str) -> Result<String, &'static str> {
    let label: String = text.trim().nfc().collect();
    if label.is_empty() {
        return Err("a label has 1 to 64 characters; this one is empty");
    }
    if label.chars().count() > MAX_LABEL {
        return Err("a label has 1 to 64 characters; this one is longer");
    }
    if label.contains(':') {
        return Err("a label has no colon: `service:Label` could not be told apart");
    }
    if label.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err("a label has no control characters, line breaks or invisible characters");
    }
    Ok(label)
}

/// What is compared: two labels with the same fold are the same label.
///
/// Characters are folded one by one, down, up and down again (Unicode 3.13, without context): so `ẞ`, `ß` and `SS` are
/// equal, and a final sigma equals any other.
pub fn fold_label(label: &str) -> String {
    label
        .trim()
        .nfc()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// Characters that change how a label looks without being seen: two labels could look alike, or read backwards.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_normalised_and_checked() {
        assert_eq!(normalize_label("  Top Zip ").as_deref(), Ok("Top Zip"));
        // e + combining acute = é.
        assert_eq!(normalize_label("Cafe\u{301}").as_deref(), Ok("Caf\u{e9}"));
        assert_eq!(normalize_label(&"я".repeat(64)).map(|label| label.chars().count()), Ok(64));
        for bad in ["", "   ", "a:b", "a\nb", "a\u{0}b", "a\u{202E}b", "a\u{200B}b", &"я".repeat(65)] {
            assert!(normalize_label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_compared_without_case() {
        for (a, b) in
            [("Top Zip", "TOP zip"), ("СКЛАД", "склад"), ("Straße", "STRASSE"), ("STRAẞE", "strasse"), ("ΟΔΟΣ", "οδος")]
        {
            assert_eq!(fold_label(a), fold_label(b), "{a} {b}");
        }
        assert_ne!(fold_label("a"), fold_label("b"));
    }

    /// No character has a case that is not folded.
    #[test]
    fn every_character_folds_once_and_for_all() {
        let cased = |c: &char| !c.to_lowercase().eq([*c]) || !c.to_uppercase().eq([*c]);
        for c in ('\0'..=char::MAX).filter(cased) {
            let fold = fold_label(&c.to_string());
            assert_eq!(fold_label(&fold), fold, "{c:?}");
            for other in [c.to_lowercase().collect::<String>(), c.to_uppercase().collect()] {
                assert_eq!(fold_label(&other), fold, "{c:?} {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_normal_label_stays_as_it_is(text in "\\PC{0,80}") {
            if let Ok(label) = normalize_label(&text) {
                let again = normalize_label(&label);
                prop_assert_eq!(again.as_deref(), Ok(label.as_str()));
                prop_assert_eq!(fold_label(&fold_label(&label)), fold_label(&label));
                prop_assert_eq!(fold_label(&label), fold_label(&text));
            }
        }
    }
}
