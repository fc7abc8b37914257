//! Tables whose keys are flat in a file and grouped in Rust.
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A struct whose keys may share one table with those of other structs; [`flat_config!`](crate::flat_config) implements
/// it.
pub trait FlatKeys: Default {
    /// All keys, including those of nested groups.
    fn keys() -> Vec<&'static str>;

    /// Reads the value of `key` from `map`. Returns `false` without reading anything if this struct has no such key.
    ///
    /// # Errors
    /// The format's own error if the value has the wrong type.
    fn read_key<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads a table strictly: a missing key keeps its default, and an unknown key is an error that lists the allowed ones.
///
/// # Errors
/// The format's own error, or an unknown or duplicate key.
pub fn read_flat<'de, T: FlatKeys, D: Deserializer<'de>>(table: D) -> Result<T, D::Error> {
    struct Keys<T>(PhantomData<T>);
    impl<'de, T: FlatKeys> Visitor<'de> for Keys<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let (mut value, mut seen) = (T::default(), Vec::new());
            while let Some(key) = map.next_key::<String>()? {
                if seen.contains(&key) {
                    return Err(A::Error::custom(format!("duplicate field `{key}`")));
                }
                if !value.read_key(&key, &mut map)? {
                    let allowed: Vec<String> = T::keys().iter().map(|key| format!("`{key}`")).collect();
                    return Err(A::Error::custom(format!(
                        "unknown field `{key}`, expected one of {}",
                        allowed.join(", ")
                    )));
                }
                seen.push(key);
            }
            Ok(value)
        }
    }
    table.deserialize_map(Keys(PhantomData))
}

/// Reads a configuration from a flat table with [`read_flat`]. `flat_config!(Training { steps, batch }, optim:
/// OptimConfig)` gives `Training` its own keys `steps` and `batch` and those of its field `optim`. The macro implements
/// [`FlatKeys`] and `serde::Deserialize`; derive `serde::Serialize` yourself, with `#[serde(flatten)]` on the groups.
/// Serde's own `flatten` cannot reject unknown keys.
#[macro_export]
macro_rules! flat_config {
    ($type:ty { $($own:ident),* $(,)? } $(, $group:ident: $of:ty)* $(,)?) => {
        impl $crate::FlatKeys for $type {
            fn keys() -> Vec<&'static str> {
                #[allow(unused_mut)]
                let mut keys: Vec<&'static str> = vec![$(stringify!($own)),*];
                $(keys.extend(<$of as $crate::FlatKeys>::keys());)*
                keys
            }

            fn read_key<'de, A: $crate::serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> ::std::result::Result<bool, A::Error> {
                match key {
                    $(stringify!($own) => self.$own = map.next_value()?,)*
                    _ => return Ok(false $(|| $crate::FlatKeys::read_key(&mut self.$group, key, map)?)*),
                }
                #[allow(unreachable_code)]
                Ok(true)
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(table: D) -> ::std::result::Result<Self, D::Error> {
                $crate::read_flat(table)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    #[derive(Debug, PartialEq, Serialize)]
    struct Inner {
        lr: f32,
        name: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize)]
    struct Outer {
        steps: usize,
        #[serde(flatten)]
        inner: Inner,
    }

    impl Default for Inner {
        fn default() -> Self {
            Self { lr: 0.5, name: None }
        }
    }

    impl Default for Outer {
        fn default() -> Self {
            Self { steps: 3, inner: Inner { lr: 0.25, name: Some("outer".into()) } }
        }
    }

    flat_config!(Inner { lr, name });
    flat_config!(Outer { steps }, inner: Inner);

    fn read(text: &str) -> Result<Outer, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_flat_and_what_is_not_said_is_the_default_of_the_whole() {
        assert_eq!(read("{}"), Ok(Outer::default()));
        let read = read(r#"{"lr": 1, "steps": 7, "name": null}"#).unwrap();
        assert_eq!(read, Outer { steps: 7, inner: Inner { lr: 1.0, name: None } });
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(text, r#"{"steps":7,"lr":1.0,"name":null}"#);
    }

    #[test]
    fn an_unknown_key_lists_all_that_are_allowed_and_a_wrong_value_is_told() {
        let told = read(r#"{"lrr": 1}"#).unwrap_err();
        assert!(told.contains("unknown field `lrr`, expected one of `steps`, `lr`, `name`"), "{told}");
        assert!(read(r#"{"lr": 1, "lr": 2}"#).unwrap_err().contains("duplicate field `lr`"));
        assert!(read(r#"{"lr": "x"}"#).unwrap_err().contains("expected f32"));
        assert!(read("3").unwrap_err().contains("expected a table"));
    }
}
