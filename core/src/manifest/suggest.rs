//! "Did you mean".

/// The most similar candidates, best first; nothing when nothing is alike.
pub fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = candidates
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.7)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(most).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_the_likely_one() {
        let names = ["wildberries", "ozon", "github"];
        assert_eq!(super::nearest("wildberies", names.into_iter(), 3), vec!["wildberries"]);
        assert!(super::nearest("zzz", names.into_iter(), 3).is_empty());
    }
}
