//! Envoy's response flags: why a request ended as it did.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One response flag (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>, `%RESPONSE_FLAGS%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ResponseFlag {
    /// No healthy upstream endpoint.
    Uh,
    /// Connection to the upstream failed.
    Uf,
    /// Upstream overflow: a connection-pool limit was reached.
    Uo,
    /// No route.
    Nr,
    /// The cluster that the route names does not exist.
    Nc,
    /// Upstream request timeout.
    Ut,
    /// The upstream closed the connection before it answered.
    Uc,
    /// Retries were exhausted.
    Urx,
    /// The downstream client went away.
    Dc,
    /// A fault filter aborted the request.
    Fi,
    /// A fault filter delayed the request.
    Di,
    /// Denied by the downstream's request itself (bad request).
    Dpe,
    /// The upstream's answer was not HTTP.
    Upe,
}

impl ResponseFlag {
    /// All flags, in declaration order; the order of the bits of [`Flags`].
    pub const ALL: [Self; 13] = [
        Self::Uh,
        Self::Uf,
        Self::Uo,
        Self::Nr,
        Self::Nc,
        Self::Ut,
        Self::Uc,
        Self::Urx,
        Self::Dc,
        Self::Fi,
        Self::Di,
        Self::Dpe,
        Self::Upe,
    ];

    /// As Envoy writes it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uh => "UH",
            Self::Uf => "UF",
            Self::Uo => "UO",
            Self::Nr => "NR",
            Self::Nc => "NC",
            Self::Ut => "UT",
            Self::Uc => "UC",
            Self::Urx => "URX",
            Self::Dc => "DC",
            Self::Fi => "FI",
            Self::Di => "DI",
            Self::Dpe => "DPE",
            Self::Upe => "UPE",
        }
    }
}

/// A set of response flags; prints as Envoy does: `DI,FI`, or `-` when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// This set and one more flag.
    #[must_use]
    pub fn with(self, flag: ResponseFlag) -> Self {
        Self(self.0 | 1 << flag as u16)
    }

    /// Is the flag in the set?
    pub fn has(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u16) != 0
    }

    /// Is there no flag?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags of the set, in the order in which Envoy's log prints them.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        // Envoy prints them in the order in which they came about (seen on 1.40: `DI,FI`, `DI,UT`, `URX,UF`, `UO,UF`).
        use ResponseFlag::{Dc, Di, Dpe, Fi, Nc, Nr, Uc, Uf, Uh, Uo, Upe, Urx, Ut};
        [Di, Fi, Nr, Nc, Uo, Urx, Uh, Uf, Uc, Ut, Upe, Dpe, Dc].into_iter().filter(move |flag| self.has(*flag))
    }

    /// The set as bits, a small dense index for counters.
    pub fn bits(self) -> u16 {
        self.0
    }
}

impl From<ResponseFlag> for Flags {
    fn from(flag: ResponseFlag) -> Self {
        Self::NONE.with(flag)
    }
}

/// A text that is no set of flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a response flag")]
pub struct UnknownFlag(String);

impl FromStr for Flags {
    type Err = UnknownFlag;
    fn from_str(text: &str) -> Result<Self, UnknownFlag> {
        if text == "-" {
            return Ok(Self::NONE);
        }
        let flag =
            |word: &str| ResponseFlag::ALL.into_iter().find(|flag| flag.as_str() == word).ok_or_else(|| UnknownFlag(word.to_owned()));
        text.split(',').try_fold(Self::NONE, |flags, word| Ok(flags.with(flag(word)?)))
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, flag) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(flag.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_as_envoy_prints_them() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!(Flags::from(ResponseFlag::Fi).with(ResponseFlag::Di).to_string(), "DI,FI");
        assert_eq!(Flags::from(ResponseFlag::Uf).with(ResponseFlag::Urx).with(ResponseFlag::Di).to_string(), "DI,URX,UF");
        assert_eq!(Flags::from(ResponseFlag::Ut).with(ResponseFlag::Di).to_string(), "DI,UT");
        assert_eq!(Flags::from(ResponseFlag::Uf).with(ResponseFlag::Uo).to_string(), "UO,UF");
    }

    #[test]
    fn every_flag_is_printed_once() {
        let all = ResponseFlag::ALL.into_iter().fold(Flags::NONE, Flags::with);
        assert_eq!(all.iter().count(), ResponseFlag::ALL.len());
    }

    #[test]
    fn a_set_prints_and_parses_back() {
        for bits in 0..1_u16 << ResponseFlag::ALL.len() {
            let flags = ResponseFlag::ALL
                .into_iter()
                .enumerate()
                .filter(|(place, _)| bits & (1 << place) != 0)
                .fold(Flags::NONE, |set, (_, flag)| set.with(flag));
            assert_eq!(flags.to_string().parse(), Ok(flags));
        }
        assert!("UF,XX".parse::<Flags>().is_err());
    }
}
