//! The three services of the theatre that have lamps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A service whose traffic the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceId {
    /// `user-service`.
    User,
    /// `movie-service`.
    Movie,
    /// `booking-service`.
    Booking,
}

impl ServiceId {
    /// All services, in the order of the page.
    pub const ALL: [Self; 3] = [Self::User, Self::Movie, Self::Booking];

    /// The key in the page's JSON: `user`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Movie => "movie",
            Self::Booking => "booking",
        }
    }

    /// The Kubernetes Service: `user-service`.
    pub fn host(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Movie => "movie-service",
            Self::Booking => "booking-service",
        }
    }

    /// The list that a browser (and ▶) asks for: `/users/`.
    pub fn path(self) -> &'static str {
        match self {
            Self::User => "/users/",
            Self::Movie => "/movies/",
            Self::Booking => "/bookings/",
        }
    }

    /// The Service's port.
    pub fn port(self) -> u16 {
        match self {
            Self::User => 8081,
            Self::Movie => 8082,
            Self::Booking => 8083,
        }
    }

    /// The service of this Kubernetes name, if it is one of the three.
    pub fn from_host(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.host() == host)
    }

    /// The service that a path of the theatre belongs to.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| path.starts_with(service.path().trim_end_matches('/')))
    }

    /// Its place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
