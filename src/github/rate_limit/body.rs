//! The few members of an answer's body that reveal a limit.
//!
//! Read leniently, because any member may be missing or have another type (GitHub's error bodies have no single
//! shape). `data` can be large; all of it but one number is skipped.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// What a body says; text is in lower case, since GitHub's capitalization is not guaranteed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) message: Option<String>,
    pub(super) documentation_url: Option<String>,
    /// `errors` of a GraphQL answer.
    pub(super) errors: Vec<GraphqlError>,
    /// `data.rateLimit.cost` of a GraphQL answer.
    pub(super) cost: Option<u32>,
    /// Whether some member of a GraphQL answer's `data` is not null: that part was carried out.
    pub(super) has_data: bool,
}

/// One of a GraphQL answer's `errors`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GraphqlError {
    /// The member `type`.
    pub(super) kind: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Raw {
    message: Value,
    documentation_url: Value,
    errors: Value,
    data: Data,
}

/// What is needed of `data`.
#[derive(Default)]
struct Data {
    cost: Option<u32>,
    is_any: bool,
}

impl Body {
    /// `None` when the body is not a single JSON object.
    pub(super) fn read(body: &[u8]) -> Option<Body> {
        let raw: Raw = serde_json::from_slice(body).ok()?;
        let errors = raw.errors.as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Body {
            message: text(&raw.message),
            documentation_url: text(&raw.documentation_url),
            errors: errors
                .iter()
                .map(|error| GraphqlError {
                    kind: text(&error["type"]),
                    code: text(&error["code"]),
                    message: text(&error["message"]),
                })
                .collect(),
            cost: raw.data.cost,
            has_data: raw.data.is_any,
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.trim().to_ascii_lowercase())
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
        struct CostOnly;

        impl<'de> Visitor<'de> for CostOnly {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E>(self) -> Result<Data, E> {
                Ok(Data::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut data = Data::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "rateLimit" {
                        let rate_limit: Value = map.next_value()?;
                        data.is_any |= !rate_limit.is_null();
                        data.cost = rate_limit["cost"].as_u64().and_then(|cost| u32::try_from(cost).ok());
                    } else {
                        data.is_any |= map.next_value::<Option<IgnoredAny>>()?.is_some();
                    }
                }
                Ok(data)
            }
        }

        deserializer.deserialize_any(CostOnly)
    }
}
