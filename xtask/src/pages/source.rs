//! The settings as the source defines them: fields, their types and their documentation.
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, ExprLit, Fields, GenericArgument, Ident, Item, Lit, LitStr, PathArguments, Token, Type};

/// Every struct and enum in some folders, by name.
#[derive(Default)]
pub(crate) struct Source {
    structs: BTreeMap<String, Vec<Field>>,
    choices: BTreeMap<String, Choice>,
    /// The ID methods, in source order.
    pub(crate) methods: Vec<Method>,
}

/// A field with its documentation.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) of: Type,
    pub(crate) doc: String,
    flat: bool,
    is_skipped: bool,
}

/// An enum.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) doc: String,
    /// The names as written in a file, with their meanings.
    pub(crate) names: Vec<(String, String)>,
    /// Whether a value is only a name.
    is_plain: bool,
}

/// An ID method: `"pop" => Popularity(PopularityConfig)` and its documentation.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) kind: String,
    pub(crate) config: String,
    pub(crate) doc: String,
}

/// The kind of a value, for the reader of a page.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Flag,
    Whole,
    Number,
    Text,
    File,
    /// One of these names, each with its meaning.
    Choice(Vec<(String, String)>),
    List(Box<Kind>),
    Table,
    /// A value of several forms, described by the type's documentation.
    Other(String),
}

impl Kind {
    /// Names the kind in words.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Whole => "whole number".into(),
            Self::Number => "number".into(),
            Self::Text => "text".into(),
            Self::File => "path".into(),
            Self::Choice(_) => "name".into(),
            Self::List(of) => format!("list of {}", of.told()),
            Self::Table => "table".into(),
            Self::Other(_) => "value".into(),
        }
    }
}

impl Source {
    /// Reads every Rust file under `folders`.
    ///
    /// # Errors
    /// Returns an error that names the file that cannot be read.
    pub(crate) fn read(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let mut source = Self::default();
        for folder in folders {
            source.folder(&folder)?;
        }
        Ok(source)
    }

    fn folder(&mut self, folder: &Path) -> Result<()> {
        let entries = folder.read_dir().with_context(|| format!("{}: cannot read", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                self.folder(&path)?;
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
                let file = syn::parse_file(&text).with_context(|| format!("{}: is no Rust", path.display()))?;
                file.items.iter().for_each(|item| self.item(item));
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Struct(found) => {
                if let Fields::Named(named) = &found.fields {
                    let fields = named.named.iter().filter_map(|field| {
                        let name = field.ident.as_ref()?.to_string();
                        let (flat, is_skipped) = (has_serde(&field.attrs, "flatten"), has_serde(&field.attrs, "skip"));
                        Some(Field { name, of: field.ty.clone(), doc: doc(&field.attrs), flat, is_skipped })
                    });
                    // Names are unique only among the types that files contain.
                    if found.ident == "Recipe" || derives_serde(&found.attrs) {
                        self.structs.insert(found.ident.to_string(), fields.collect());
                    }
                }
            }
            Item::Enum(found) => {
                let rule = serde_value(&found.attrs, "rename_all");
                let named = |variant: &syn::Variant| {
                    let name = variant.ident.to_string();
                    let name = serde_value(&variant.attrs, "rename").unwrap_or_else(|| match rule.as_deref() {
                        Some("lowercase") => name.to_lowercase(),
                        Some(_) => snake(&name),
                        None => name,
                    });
                    (name, doc(&variant.attrs))
                };
                let is_plain = rule.is_some() && found.variants.iter().all(|variant| variant.fields.is_empty());
                let names = found.variants.iter().map(named).collect();
                self.choices.insert(found.ident.to_string(), Choice { doc: doc(&found.attrs), names, is_plain });
            }
            Item::Macro(found) if found.mac.path.is_ident("methods") => {
                if let Ok(Methods(methods)) = found.mac.parse_body() {
                    self.methods = methods;
                }
            }
            _ => {}
        }
    }

    /// Returns the fields of a struct.
    ///
    /// # Errors
    /// Returns an error if there is no such struct.
    pub(crate) fn fields(&self, name: &str) -> Result<&[Field]> {
        match self.structs.get(name) {
            Some(fields) => Ok(fields),
            None => bail!("the source has no struct {name}"),
        }
    }

    /// Returns the keys that a file may have for a struct: its fields, including those of flattened groups.
    ///
    /// # Errors
    /// As [`fields`](Self::fields).
    pub(crate) fn keys(&self, name: &str) -> Result<Vec<Field>> {
        let mut keys = Vec::new();
        for field in self.fields(name)?.iter().filter(|field| !field.is_skipped) {
            match &field.of {
                Type::Path(path) if field.flat => {
                    let of = path.path.segments.last().map(|part| part.ident.to_string()).unwrap_or_default();
                    // The enum of the methods, which a macro defines, has its keys by kind.
                    if self.structs.contains_key(&of) {
                        keys.extend(self.keys(&of)?);
                    }
                }
                _ => keys.push(field.clone()),
            }
        }
        Ok(keys)
    }

    /// Returns the kind of a type's values in a file.
    pub(crate) fn kind(&self, of: &Type) -> Kind {
        if let Type::Array(array) = of {
            return Kind::List(Box::new(self.kind(&array.elem)));
        }
        let Type::Path(path) = of else { return Kind::Other(String::new()) };
        let Some(part) = path.path.segments.last() else { return Kind::Other(String::new()) };
        let inner = match &part.arguments {
            PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(of) => Some(self.kind(of)),
                _ => None,
            }),
            _ => None,
        };
        match (part.ident.to_string().as_str(), inner) {
            ("bool", _) => Kind::Flag,
            ("usize" | "isize" | "u64" | "u32" | "i64", _) => Kind::Whole,
            ("f32" | "f64", _) => Kind::Number,
            ("String", _) => Kind::Text,
            ("PathBuf", _) => Kind::File,
            ("Option", Some(inner)) => inner,
            ("Vec", Some(inner)) => Kind::List(Box::new(inner)),
            ("BTreeMap" | "Table", _) => Kind::Table,
            (name, _) => match self.choices.get(name) {
                Some(choice) if choice.is_plain => Kind::Choice(choice.names.clone()),
                Some(choice) => Kind::Other(choice.doc.clone()),
                None => Kind::Other(String::new()),
            },
        }
    }

    /// Returns an enum by name.
    ///
    /// # Errors
    /// Returns an error if there is no such enum.
    pub(crate) fn choice(&self, name: &str) -> Result<&Choice> {
        self.choices.get(name).with_context(|| format!("the source has no enum {name}"))
    }
}

struct Methods(Vec<Method>);

impl Parse for Methods {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut methods = Vec::new();
        while !input.is_empty() {
            let attrs = input.call(Attribute::parse_outer)?;
            let kind: LitStr = input.parse()?;
            input.parse::<Token![=>]>()?;
            input.parse::<Ident>()?;
            let config;
            syn::parenthesized!(config in input);
            let config: Ident = config.parse()?;
            input.parse::<Token![,]>()?;
            methods.push(Method { kind: kind.value(), config: config.to_string(), doc: doc(&attrs) });
        }
        Ok(Self(methods))
    }
}

/// Returns the first paragraph of the documentation on one line, as Markdown without links to code.
fn doc(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter(|attr| attr.path().is_ident("doc")).filter_map(|attr| {
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &attr.meta.require_name_value().ok()?.value else {
            return None;
        };
        Some(text.value().trim().to_owned())
    });
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let text = lines.join(" ").trim().replace('|', "\\|");
    plain(&text)
}

/// Turns ``[`Name`](crate::Name)`` and ``[`crate::Name`]`` into `` `Name` ``.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((link, behind)) = after.split_once(']').filter(|(link, _)| link.starts_with('`')) else {
            plain.push_str(before);
            plain.push('[');
            rest = after;
            continue;
        };
        let name = link.trim_matches('`').trim_start_matches("Self::");
        let name = if name.contains("::") { name.trim_start_matches("crate::") } else { name };
        plain.push_str(&format!("{before}`{name}`"));
        rest = match behind.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, rest)) => rest,
            None => behind,
        };
    }
    plain + rest
}

fn derives_serde(attrs: &[Attribute]) -> bool {
    let mut found = false;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("derive")) {
        attr.parse_nested_meta(|meta| {
            found |=
                meta.path.segments.last().is_some_and(|part| part.ident == "Serialize" || part.ident == "Deserialize");
            Ok(())
        })
        .ok();
    }
    found
}

fn has_serde(attrs: &[Attribute], name: &str) -> bool {
    let mut found = false;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        // Skip the value of an attribute such as `default = "name"`.
        attr.parse_nested_meta(|meta| {
            found |= meta.path.is_ident(name);
            if meta.input.peek(Token![=]) {
                meta.value()?.parse::<Expr>()?;
            }
            Ok(())
        })
        .ok();
    }
    found
}

fn serde_value(attrs: &[Attribute], name: &str) -> Option<String> {
    let mut found = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            if meta.input.peek(Token![=]) {
                let value: Expr = meta.value()?.parse()?;
                if let (true, Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = (meta.path.is_ident(name), value) {
                    found = Some(text.value());
                }
            }
            Ok(())
        })
        .ok();
    }
    found
}

/// Converts `LeaveOneOut` to `leave_one_out`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}
