//! The words of the kernel command line.

/// Words with which systemd goes to a shell of root's.
pub const TO_A_SHELL: [&str; 8] = ["single", "-s", "s", "S", "1", "rescue", "emergency", "-b"];

/// They are parted by white space, except between double quotes, which are dropped.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if letter.is_whitespace() && !quoted => words.push(String::new()),
            _ => words
                .last_mut()
                .expect("one word is always there")
                .push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A command line of these words: those with white space in them are quoted.
pub fn line(words: &[String]) -> String {
    let quoted = |word: &String| match word.contains(char::is_whitespace) {
        true => format!("\"{word}\""),
        false => word.clone(),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together_and_go() {
        assert_eq!(words("ro  a=\"b c\" quiet\n"), ["ro", "a=b c", "quiet"]);
        assert!(words(" \n").is_empty());
        assert_eq!(line(&words("ro a=\"b c\"")), "ro \"a=b c\"");
    }
}
