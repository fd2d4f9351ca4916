#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Number(f64),
    Plus,
    Minus,
}

pub fn tokenize(input: &str) -> Result<Vec<Token>, String> {
    input
        .split_whitespace()
        .map(|word| match word {
            "+" => Ok(Token::Plus),
            "-" => Ok(Token::Minus),
            other => other
                .parse::<f64>()
                .map(Token::Number)
                .map_err(|error| format!("{other}: {error}")),
        })
        .collect()
}
