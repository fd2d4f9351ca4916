use std::collections::HashMap;

fn letter_counts(text: &str) -> HashMap<char, usize> {
    let mut counts = HashMap::new();
    for letter in text.chars().filter(|c| c.is_alphabetic()) {
        *counts.entry(letter.to_ascii_lowercase()).or_insert(0) += 1;
    }
    counts
}

fn main() {
    for (letter, count) in &letter_counts("Every good boy deserves fruit") {
        println!("{letter}: {count}");
    }
}
