//! Closed choices that have a name on the command line, in `metrics.json` and in the report.

/// A name that is none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{found}`; there is: {choices}")]
pub struct UnknownName {
    /// What was being chosen.
    pub what: &'static str,
    /// The name found.
    pub found: String,
    /// All names, separated by commas.
    pub choices: String,
}

/// Defines an enum whose variants have a name each: `ALL`, `name()`, `Display`, `FromStr` and serde agree on it.
macro_rules! named {
    (
        $(#[$outer:meta])*
        pub enum $type:ident, $what:literal {
            $( $(#[$inner:meta])* $variant:ident = $name:literal, )+
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $( $(#[$inner])* #[serde(rename = $name)] $variant, )+
        }

        impl $type {
            /// Every choice there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name by which it is chosen.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::UnknownName;

            fn from_str(found: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|choice| choice.name() == found).ok_or_else(|| {
                    $crate::UnknownName {
                        what: $what,
                        found: found.to_owned(),
                        choices: Self::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}
pub(crate) use named;
