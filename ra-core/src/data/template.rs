//! Texts of items by a template: `{title}. Category: {category}. Brand: {brand}`.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The field that stands for an item's title, whatever its column is called.
const TITLE: &str = "title";

/// What a text begins with is dropped if the part before it is missing.
const SEPARATORS: &str = ".,;:|/-–—·•";

/// A template for the texts of items: words, and fields in braces.
///
/// The template consists of parts, and an item's text has the parts of which the item has all fields.
///
/// - Square brackets make a part of what is between them, as in `{title}[ ({year})][ by {brand}]`. They do not nest.
/// - Outside brackets, every field makes a part, together with the words before it: `{title}. Brand: {brand}` has the
///   parts `{title}` and `. Brand: {brand}`. A closing round bracket, and words that no field follows, belong to the
///   part before them.
/// - A text begins without the blanks and separators (`. , ; : | / -` and the like) of its first part, if an earlier
///   part is missing, and ends without blanks.
/// - `{{`, `}}`, `[[` and `]]` stand for the characters themselves.
///
/// `{title}` is the item's title; every other name is that of a column.
///
/// ```
/// let template: ra_core::TextTemplate = "{title}. Category: {category}[ (by {brand})]".parse().unwrap();
/// let values = |name: &str| match name {
///     "title" => "",
///     "category" => "Soap",
///     _ => "Acme",
/// };
/// assert_eq!(template.parts(values), ["Category: Soap", " (by Acme)"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TextTemplate {
    written: String,
    parts: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Words(String),
    Field(String),
}

impl TextTemplate {
    /// The names of its fields, without that of the title, each once.
    pub fn fields(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.names().filter(|name| *name != TITLE) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether the title is one of its fields.
    pub fn has_title(&self) -> bool {
        self.names().any(|name| name == TITLE)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flatten().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Words(_) => None,
        })
    }

    /// The parts of an item's text, in order; together they are the text. `value` returns what a field holds, which is
    /// blank if the item lacks it.
    pub fn parts<'v>(&self, value: impl Fn(&str) -> &'v str) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for (place, part) in self.parts.iter().enumerate() {
            let Some(text) = filled(part, &value) else { continue };
            let is_first = texts.is_empty() && place > 0;
            texts.push(if is_first { without_separator(&text) } else { text });
        }
        if let Some(last) = texts.last_mut() {
            last.truncate(last.trim_end().len());
        }
        texts
    }
}

/// The text of a part; nothing if a field of it is blank.
fn filled<'v>(part: &[Piece], value: &impl Fn(&str) -> &'v str) -> Option<String> {
    let mut text = String::new();
    for piece in part {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Field(name) => match value(name).trim() {
                "" => return None,
                held => text.push_str(held),
            },
        }
    }
    Some(text)
}

fn without_separator(text: &str) -> String {
    text.trim_start_matches(|c: char| c.is_whitespace() || SEPARATORS.contains(c)).to_owned()
}

/// The parts found so far, and the words that belong to none yet.
#[derive(Default)]
struct Parser {
    parts: Vec<Vec<Piece>>,
    words: String,
}

impl Parser {
    /// Ends a part outside brackets with a field.
    fn field(&mut self, name: String) {
        let mut words = std::mem::take(&mut self.words);
        if let (true, Some(last)) = (words.starts_with(')'), self.parts.last_mut()) {
            last.push(Piece::Words(words.remove(0).into()));
        }
        self.parts.push(with_words(Vec::new(), words, Some(name)));
    }

    /// Adds words that no field follows to the part before them; to the next one if there is none.
    fn rest(&mut self) {
        if let Some(last) = self.parts.last_mut() {
            let words = std::mem::take(&mut self.words);
            *last = with_words(std::mem::take(last), words, None);
        }
    }
}

fn with_words(mut pieces: Vec<Piece>, words: String, field: Option<String>) -> Vec<Piece> {
    pieces.extend((!words.is_empty()).then_some(Piece::Words(words)));
    pieces.extend(field.map(Piece::Field));
    pieces
}

impl FromStr for TextTemplate {
    type Err = String;

    /// # Errors
    /// Says which bracket is wrong, and how a template is written.
    fn from_str(written: &str) -> Result<Self, String> {
        let mut parser = Parser::default();
        // The pieces within square brackets.
        let mut within: Option<Vec<Piece>> = None;
        let mut rest = written;
        while let Some(first) = rest.chars().next() {
            let twice = rest[first.len_utf8()..].starts_with(first) && "{}[]".contains(first);
            let mut used = first.len_utf8() * if twice { 2 } else { 1 };
            match (first, &mut within) {
                _ if twice => parser.words.push(first),
                ('{', within) => {
                    let (name, length) = field_name(rest)?;
                    used = length;
                    match within {
                        Some(pieces) => {
                            let words = std::mem::take(&mut parser.words);
                            *pieces = with_words(std::mem::take(pieces), words, Some(name));
                        }
                        None => parser.field(name),
                    }
                }
                ('}', _) => return Err("has a } without its {; write }} for the character itself".into()),
                ('[', None) => {
                    parser.rest();
                    within = Some(with_words(Vec::new(), std::mem::take(&mut parser.words), None));
                }
                ('[', Some(_)) => return Err("has a [ within [..]; write [[ for the character itself".into()),
                (']', Some(pieces)) => {
                    let words = std::mem::take(&mut parser.words);
                    let pieces = with_words(std::mem::take(pieces), words, None);
                    if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
                        return Err("has brackets [..] without a field; what always stands needs none".into());
                    }
                    parser.parts.push(pieces);
                    within = None;
                }
                (']', None) => return Err("has a ] without its [; write ]] for the character itself".into()),
                (other, _) => parser.words.push(other),
            }
            rest = &rest[used..];
        }
        if within.is_some() {
            return Err("has a [ without its ]; write [[ for the character itself".into());
        }
        parser.rest();
        if parser.parts.is_empty() {
            return Err("names no field; write one in braces, as in {title}".into());
        }
        Ok(Self { written: written.into(), parts: parser.parts })
    }
}

/// The name of the field that `text` begins with, and the number of bytes with its braces.
fn field_name(text: &str) -> Result<(String, usize), String> {
    let Some(end) = text.find('}') else {
        return Err("has a { without its }; write {{ for the character itself".into());
    };
    let name = text[1..end].trim();
    if name.is_empty() || name.contains('{') {
        return Err(format!("has {}, which is not a field; write its name in braces, as in {{title}}", &text[..=end]));
    }
    Ok((name.into(), end + 1))
}

impl TryFrom<String> for TextTemplate {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        written.parse().map_err(|problem| format!("{written:?} {problem}"))
    }
}

impl From<TextTemplate> for String {
    fn from(template: TextTemplate) -> Self {
        template.written
    }
}

impl fmt::Display for TextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of the text of an item that has `fields`, separated by `~`.
    fn text(template: &str, fields: &[(&str, &str)]) -> String {
        let template: TextTemplate = template.parse().unwrap();
        template.parts(|name| fields.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| *value)).join("~")
    }

    #[test]
    fn a_field_that_is_missing_vanishes_with_its_words() {
        let (title, kind, brand) = (("title", "Soap"), ("kind", "Care, Bath"), ("brand", "Acme"));
        let plain = "{title}. Category: {kind}. Brand: {brand}";
        for (template, fields, expected) in [
            (plain, vec![title, kind, brand], "Soap~. Category: Care, Bath~. Brand: Acme"),
            (plain, vec![title, brand], "Soap~. Brand: Acme"),
            (plain, vec![kind, brand], "Category: Care, Bath~. Brand: Acme"),
            (plain, vec![brand], "Brand: Acme"),
            (plain, vec![], ""),
            (plain, vec![title, ("kind", "  "), brand], "Soap~. Brand: Acme"),
            ("{title} ({kind}) by {brand}.", vec![title, kind, brand], "Soap~ (Care, Bath)~ by Acme."),
            ("{title} ({kind}) by {brand}.", vec![title, kind], "Soap~ (Care, Bath)"),
            ("{title}[ ({kind}, {brand})]!", vec![title, kind], "Soap"),
            ("{title}[ ({kind}, {brand})]!", vec![title, kind, brand], "Soap~ (Care, Bath, Acme)!"),
            ("{title}. [Brand: {brand}]", vec![title], "Soap."),
            ("Item [{title}]{brand}", vec![title, brand], "Item Soap~Acme"),
            ("[[{title}]] {{}}", vec![title], "[Soap] {}"),
            ("{ title }", vec![("title", " Soap ")], "Soap"),
        ] {
            assert_eq!(text(template, &fields), expected, "{template} {fields:?}");
        }
    }

    #[test]
    fn fields_are_listed_once_and_a_template_is_written_as_it_was() {
        let template: TextTemplate = "{title} {b}[ {a} {b}]".parse().unwrap();
        assert_eq!((template.fields(), template.has_title()), (vec!["b", "a"], true));
        let again: TextTemplate = serde_json::from_str(&serde_json::to_string(&template).unwrap()).unwrap();
        assert_eq!(again, template);
        assert!(!"{name}".parse::<TextTemplate>().unwrap().has_title());
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_remedy() {
        for (wrong, told) in [
            ("", "names no field"),
            ("title", "as in {title}"),
            ("{title", "without its }"),
            ("title}", "write }}"),
            ("{}", "is not a field"),
            ("{title} [by {brand}", "without its ]"),
            ("{title} by {brand}]", "write ]]"),
            ("{title}[ a [{b}]]", "within [..]"),
            ("{title}[ a ]", "without a field"),
            ("{a{b}}", "is not a field"),
        ] {
            let error = wrong.parse::<TextTemplate>().unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
