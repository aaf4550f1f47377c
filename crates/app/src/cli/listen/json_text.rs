//! JSON as text: laid out or compacted without being parsed, so that order, numbers and escapes stay what they are.

/// No line that is laid out has more characters.
const LINE_MAX: usize = 300;

/// Lays out valid JSON for people, in at most `max_lines` lines. The second value tells whether that was all of it.
pub fn lay_out(json: &str, max_lines: usize) -> (Vec<String>, bool) {
    let mut page = Page { lines: vec![String::new()], length: 0, depth: 0 };
    let mut characters = significant(json).peekable();
    while let Some((character, is_structural)) = characters.next() {
        let is_empty = matches!(characters.peek(), Some(('}' | ']', true)));
        match character {
            '{' | '[' if is_structural && !is_empty => {
                page.push(character);
                page.depth += 1;
                page.end_line();
            }
            '{' | '[' if is_structural => {
                page.push(character);
                page.extend(characters.next().map(|(closing, _)| closing));
            }
            '}' | ']' if is_structural => {
                page.depth = page.depth.saturating_sub(1);
                page.end_line();
                page.push(character);
            }
            ',' if is_structural => {
                page.push(character);
                page.end_line();
            }
            ':' if is_structural => page.extend([':', ' ']),
            _ => page.push(character),
        }
        if page.lines.len() > max_lines {
            page.lines.truncate(max_lines);
            return (page.lines, false);
        }
    }
    (page.lines, true)
}

/// Valid JSON in one line.
pub fn compact(json: &str) -> String {
    significant(json).map(|(character, _)| character).collect()
}

/// What a terminal shows as it is: control characters, which could do more than show, are replaced.
pub fn shown(character: char) -> char {
    if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }
}

struct Page {
    lines: Vec<String>,
    /// Characters of the last line.
    length: usize,
    depth: usize,
}

impl Page {
    fn push(&mut self, character: char) {
        if let Some(line) = self.lines.last_mut()
            && self.length <= LINE_MAX
        {
            line.push(if self.length < LINE_MAX { shown(character) } else { '…' });
            self.length += 1;
        }
    }

    fn extend(&mut self, characters: impl IntoIterator<Item = char>) {
        characters.into_iter().for_each(|character| self.push(character));
    }

    fn end_line(&mut self) {
        let indent = (self.depth * 2).min(LINE_MAX);
        self.lines.push(" ".repeat(indent));
        self.length = indent;
    }
}

/// The characters that are not space between others, each with whether it is outside of strings.
fn significant(json: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut in_string, mut is_escaped) = (false, false);
    json.chars().filter_map(move |character| {
        let is_structural = !in_string;
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ if is_structural && character.is_ascii_whitespace() => return None,
            _ => {}
        }
        Some((character, is_structural))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#" { "b" : 1.50e3 , "a":[ ] ,"c" : { } , "d":["x, {y}: \"z\\", { "e" : null }]}"#;

    #[test]
    fn nothing_changes_but_the_space() {
        let (lines, is_all) = lay_out(JSON, 40);
        assert!(is_all);
        let expected = r#"{
  "b": 1.50e3,
  "a": [],
  "c": {},
  "d": [
    "x, {y}: \"z\\",
    {
      "e": null
    }
  ]
}"#;
        assert_eq!(lines.join("\n"), expected);
        assert_eq!(compact(JSON), r#"{"b":1.50e3,"a":[],"c":{},"d":["x, {y}: \"z\\",{"e":null}]}"#);
        assert_eq!(compact(expected), compact(JSON));
    }

    #[test]
    fn what_is_laid_out_is_bounded_however_deep_or_long_it_is() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let (lines, is_all) = lay_out(&deep, 40);
        assert_eq!((lines.len(), is_all), (40, false));
        let long = format!("\"{}\"", "€".repeat(1_000_000));
        let (lines, _) = lay_out(&long, 40);
        assert_eq!(lines[0].chars().count(), LINE_MAX + 1);
    }

    #[test]
    fn what_could_steer_a_terminal_is_replaced() {
        assert_eq!(lay_out("\"a\u{9b}31m\"", 40).0, ["\"a\u{fffd}31m\""]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,200}") {
            let (lines, _) = lay_out(&text, 5);
            proptest::prop_assert!(lines.len() <= 5);
        }
    }
}
