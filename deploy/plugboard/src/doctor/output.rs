//! Findings, for people and for programs.

use plugboard_core::doctor::{Finding, State};
use serde_json::json;

/// One line each, aligned; below what is to be mended, what to do.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { part, state, seen, remedy } in findings {
        text.push_str(&format!("{state:<7}  {part:<7}  {}\n", one_line(seen)));
        if let Some(remedy) = remedy {
            text.push_str(&format!("{:18}-> {}\n", "", one_line(remedy)));
        }
    }
    let number = |state| findings.iter().filter(|finding| finding.state == state).count();
    let [ok, warn, fail, skipped] = [State::Ok, State::Warn, State::Fail, State::Skipped].map(number);
    text.push_str(&format!("\n{ok} ok, {warn} warn, {fail} FAIL, {skipped} skipped"));
    text
}

/// What others say may have line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn json(findings: &[Finding], healthy: bool) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&json!({"healthy": healthy, "findings": findings}))
}

#[cfg(test)]
mod tests {
    use plugboard_core::doctor::Part;

    use super::*;

    #[test]
    fn lines_are_aligned_and_say_what_to_do() {
        let findings = [Part::Gateway.ok("answers"), Part::Redis.fail("appendonly\nis not yes", "set it")];
        let expected = "ok       gateway  answers\n\
                        FAIL     redis    appendonly is not yes\n                  -> set it\n\n\
                        1 ok, 0 warn, 1 FAIL, 0 skipped";
        assert_eq!(text(&findings), expected);
        let answer: serde_json::Value = serde_json::from_str(&json(&findings, false).unwrap()).unwrap();
        assert_eq!(answer["findings"][1]["state"], "fail");
        assert_eq!(answer["findings"][1]["remedy"], "set it");
        assert!(answer["findings"][0].get("remedy").is_none());
    }
}
