//! The whole state: the `hello` event and `GET /api/v1/state`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::service::ServiceId;
use crate::view::cluster::{CloudView, LinkView, MeshView, PodsView, StoreView};
use crate::view::request::RequestRow;
use crate::view::split::{ServiceConfig, Stat, Totals};

/// Through which door the page is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The api-gateway pod, behind cp-gateway.
    Gateway,
    /// `smov up` itself, through no proxy.
    Operator,
}

/// Which services ▶ asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// All three in turn.
    #[default]
    All,
    /// Users.
    User,
    /// Movies.
    Movie,
    /// Bookings.
    Booking,
}

impl Target {
    /// The service of the `turn`-th request.
    pub fn service(self, turn: u64) -> ServiceId {
        match self {
            Self::All => ServiceId::ALL[(turn % 3) as usize],
            Self::User => ServiceId::User,
            Self::Movie => ServiceId::Movie,
            Self::Booking => ServiceId::Booking,
        }
    }
}

/// LOAD: the traffic that the server makes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadView {
    /// ▶ is on.
    pub running: bool,
    /// Requests a second.
    pub rate: u32,
    /// Which services.
    pub target: Target,
    /// With the canary header.
    pub canary: bool,
    /// Requests sent since the start, bursts included.
    pub sent: u64,
    /// Requests without an answer yet.
    pub in_flight: u32,
    /// Burst requests still to send.
    pub burst: u32,
    /// Requests that fell due while too many were in flight, and so were not sent.
    pub skipped: u64,
    /// `IngressUnreachable`, `TooManyInFlight`; `None` when the last one went well.
    pub error: Option<String>,
    /// What the transport said.
    pub error_text: Option<String>,
    /// Why it stopped by itself: `NobodyWatching`.
    pub stopped: Option<String>,
}

/// One service with what was observed of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// What is configured.
    #[serde(flatten)]
    pub config: ServiceConfig,
    /// What was observed.
    pub stat: Stat,
}

/// A value per service, in the page's order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PerService<T> {
    /// `user-service`.
    pub user: T,
    /// `movie-service`.
    pub movie: T,
    /// `booking-service`.
    pub booking: T,
}

impl<T> PerService<T> {
    /// One value for each.
    pub fn from_fn(mut value: impl FnMut(ServiceId) -> T) -> Self {
        Self { user: value(ServiceId::User), movie: value(ServiceId::Movie), booking: value(ServiceId::Booking) }
    }

    /// The service's value.
    pub fn of(&self, service: ServiceId) -> &T {
        match service {
            ServiceId::User => &self.user,
            ServiceId::Movie => &self.movie,
            ServiceId::Booking => &self.booking,
        }
    }
}

/// The `stat` event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatView {
    /// Per service.
    #[serde(flatten)]
    pub services: PerService<Stat>,
    /// All together.
    pub totals: Totals,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateView {
    /// Changes when the console starts anew.
    pub epoch: String,
    /// The last event that this state contains.
    pub seq: u64,
    /// Requests that happened since the event the reader named and that no event will tell it any more.
    pub missed: u64,
    /// The door.
    pub door: Door,
    /// smov's version.
    pub version: String,
    /// The Istio version whose behaviour it follows.
    pub istio: String,
    /// The language to show where the browser has no wish.
    pub lang_default: String,
    /// The seed, when draws are repeatable.
    pub seed: Option<u64>,
    /// The store.
    pub store: StoreView,
    /// The clusters.
    pub clusters: Vec<CloudView>,
    /// The services.
    pub services: PerService<ServiceView>,
    /// ▶.
    pub load: LoadView,
    /// Pods by cluster.
    pub pods: BTreeMap<String, PodsView>,
    /// The mesh.
    pub mesh: MeshView,
    /// The link between the clusters; `None` = there is none of smov's, as on real clusters.
    #[serde(default)]
    pub link: Option<LinkView>,
    /// The last 100 rows, oldest first, and of each service at least its last 16.
    pub recent: Vec<RequestRow>,
    /// All services together.
    pub totals: Totals,
}
