//! Who may talk to a cluster: its certificate authority, the administrator's token, and the
//! tokens of service accounts.
//!
//! Keys and the administrator's token are files that only their owner may read. Tokens of service
//! accounts are random and kept as hashes only; one that is bound to a pod or a Secret dies with it. Uids are compared, not names.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{ApiError, OpenError},
    kinds::{Kind, POD, SECRET, SERVICE_ACCOUNT},
    registry::{
        Registry,
        storage::{private_file, private_folder},
    },
};

/// Somebody whose token was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As `kubernetes-admin`, `system:serviceaccount:theater-msa:user-service`.
    pub name: String,
    /// The service account's uid; empty for the administrator.
    pub uid: String,
    /// As `system:masters`, `system:serviceaccounts`.
    pub groups: Vec<String>,
    /// As `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody who shows no token.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".to_owned()],
            extra: BTreeMap::new(),
        }
    }

    /// Did he show no token?
    pub fn is_anonymous(&self) -> bool {
        self.name == "system:anonymous"
    }

    /// May this user do everything?
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == crate::rbac::MASTERS)
    }
}

#[derive(Clone)]
struct Token {
    namespace: String,
    account: String,
    /// Another account of the same name is another account.
    account_uid: String,
    bound: Option<Bound>,
    /// Seconds since 1970; none lasts as long as what it is bound to.
    expires: Option<i64>,
}

/// An object of the account's namespace with whose end a token ends.
#[derive(Clone)]
struct Bound {
    kind: &'static Kind,
    name: String,
    uid: String,
}

/// What a token may be bound to.
const BINDERS: [&Kind; 2] = [&POD, &SECRET];

/// A cluster's certificate authority and tokens.
pub struct Authority {
    registry: Registry,
    ca_pem: String,
    server: (Vec<CertificateDer<'static>>, Vec<u8>),
    admin_token: String,
    /// By hash; guarded for one look-up or insert.
    tokens: Mutex<HashMap<String, Token>>,
}

impl Authority {
    /// Opens the authority kept in `folder`, or founds it, and makes a server certificate for
    /// these addresses.
    ///
    /// # Errors
    /// Files cannot be read or written, or hold no keys.
    pub fn open(folder: &Path, registry: Registry, addresses: &[IpAddr]) -> Result<Self, OpenError> {
        private_folder(folder).map_err(|source| OpenError::File { path: folder.to_owned(), source })?;
        let failed = |error: rcgen::Error| OpenError::Authority { path: folder.to_owned(), reason: error.to_string() };
        let key_pem = keep(folder.join("ca.key"), || Ok(KeyPair::generate().map_err(failed)?.serialize_pem()))?;
        let key = KeyPair::from_pem(&key_pem).map_err(failed)?;
        let params = ca_params(registry.cluster()).map_err(failed)?;
        let ca_pem = keep(folder.join("ca.crt"), || Ok(params.self_signed(&key).map_err(failed)?.pem()))?;
        registry.tell_root_certificate(&ca_pem);
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().map_err(failed)?;
        let certificate = server_params(addresses).and_then(|params| params.signed_by(&server_key, &issuer)).map_err(failed)?;
        let admin_token = keep(folder.join("admin.token"), || Ok(random_token()))?;
        let authority = Self {
            ca_pem,
            server: (vec![certificate.der().clone()], server_key.serialize_der()),
            admin_token,
            tokens: Mutex::new(HashMap::new()),
            registry,
        };
        authority.load_tokens().map_err(|error| OpenError::Authority { path: folder.to_owned(), reason: error.message })?;
        Ok(authority)
    }

    /// The certificate that clients check the API server against.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The token of the one who may do everything.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// TLS for the API server: HTTP/2 and HTTP/1.1, sessions can be resumed.
    ///
    /// # Errors
    /// rustls does not like the certificate.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.server.1.clone()).map_err(|error| rustls::Error::General(error.to_owned()))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.server.0.clone(), key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(config)
    }

    /// A new token of a service account; bound to a pod it ends with the pod.
    ///
    /// # Errors
    /// There is no such account or pod, or the token cannot be kept.
    pub fn issue(&self, namespace: &str, account: &str, pod: Option<&str>) -> Result<String, ApiError> {
        self.issue_bound(namespace, account, pod.map(|name| ("Pod", name)), None)
    }

    /// The same bound to a `Pod` or `Secret` of that name, with an end in seconds since 1970.
    ///
    /// # Errors
    /// As [`Authority::issue`], or nothing can be bound to that kind.
    pub fn issue_bound(
        &self,
        namespace: &str,
        account: &str,
        bound: Option<(&str, &str)>,
        expires: Option<i64>,
    ) -> Result<String, ApiError> {
        self.issue_for(namespace, account, bound, None, expires)
    }

    /// The same for a client, who may say which very object he means, and gets nothing for another account's pod.
    pub(crate) fn issue_for(
        &self,
        namespace: &str,
        account: &str,
        bound: Option<(&str, &str)>,
        expected: Option<&str>,
        expires: Option<i64>,
    ) -> Result<String, ApiError> {
        let account_uid = uid(&*self.registry.get(&SERVICE_ACCOUNT, namespace, account)?).to_owned();
        let bound = match bound {
            Some((kind, name)) => {
                let unknown = || ApiError::bad_request(format!("cannot bind token for object of type {kind:?}"));
                let kind = BINDERS.into_iter().find(|known| known.kind == kind).ok_or_else(unknown)?;
                let found = self.registry.get(kind, namespace, name)?;
                if kind == &POD && found["spec"]["serviceAccountName"].as_str().is_some_and(|runs_as| runs_as != account) {
                    let why = "to pod running with different serviceaccount name.";
                    return Err(ApiError::bad_request(format!("cannot bind token for serviceaccount {account:?} {why}")));
                }
                if let Some(expected) = expected.filter(|expected| *expected != uid(&found)) {
                    let why = "does not match the UID in record. The object might have been deleted and then recreated";
                    let why = format!("the UID in the bound object reference ({expected}) {why}");
                    return Err(ApiError::conflict(kind, name, &why));
                }
                Some(Bound { kind, name: name.to_owned(), uid: uid(&found).to_owned() })
            }
            None => None,
        };
        self.forget_dead_tokens()?;
        let token = random_token();
        let hash = hash(&token);
        self.registry.storage().with(|database| {
            database.execute(
                "INSERT INTO account_tokens (hash, namespace, account, account_uid, bound_kind, bound_name, bound_uid, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                rusqlite::params![
                    hash,
                    namespace,
                    account,
                    account_uid,
                    bound.as_ref().map(|bound| bound.kind.kind),
                    bound.as_ref().map(|bound| &bound.name),
                    bound.as_ref().map(|bound| &bound.uid),
                    expires
                ],
            )
        })?;
        let record = Token { namespace: namespace.to_owned(), account: account.to_owned(), account_uid, bound, expires };
        self.tokens().insert(hash, record);
        Ok(token)
    }

    /// Whose token is it?
    pub fn authenticate(&self, token: &str) -> Option<User> {
        let hashed = hash(token);
        // Hashes are compared, so that time tells nothing about the token.
        if hashed == hash(&self.admin_token) {
            return Some(User {
                name: "kubernetes-admin".to_owned(),
                uid: String::new(),
                groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
                extra: BTreeMap::new(),
            });
        }
        let record = self.tokens().get(&hashed).cloned()?;
        self.user_of(&record)
    }

    /// The user of a token, while the very account and the very pod or Secret are there, and time allows it.
    fn user_of(&self, token: &Token) -> Option<User> {
        if token.expires.is_some_and(|end| end <= jiff::Timestamp::now().as_second()) {
            return None;
        }
        let Token { namespace, account, .. } = token;
        self.registry.find(&SERVICE_ACCOUNT, namespace, account).filter(|found| uid(found) == token.account_uid)?;
        let mut extra = BTreeMap::new();
        if let Some(Bound { kind, name, uid: bound_uid }) = &token.bound {
            let found = self.registry.find(kind, namespace, name).filter(|found| uid(found) == bound_uid)?;
            let mut tell = |field: &str, value: &str| {
                extra.insert(format!("authentication.kubernetes.io/{field}"), vec![value.to_owned()]);
            };
            if *kind == &POD {
                tell("pod-name", name);
                tell("pod-uid", bound_uid);
                if let Some(node) = found["spec"]["nodeName"].as_str() {
                    tell("node-name", node);
                }
            }
        }
        Some(User {
            name: format!("system:serviceaccount:{namespace}:{account}"),
            uid: token.account_uid.clone(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            extra,
        })
    }

    fn load_tokens(&self) -> Result<(), ApiError> {
        let loaded = self.registry.storage().with(|database| {
            let mut statement = database
                .prepare("SELECT hash, namespace, account, account_uid, bound_kind, bound_name, bound_uid, expires FROM account_tokens")?;
            let rows = statement.query_map([], |row| {
                let kind: Option<String> = row.get(4)?;
                let bound = match BINDERS.into_iter().find(|known| Some(known.kind) == kind.as_deref()) {
                    Some(kind) => Some(Bound { kind, name: row.get(5)?, uid: row.get(6)? }),
                    None => None,
                };
                let (namespace, account, account_uid) = (row.get(1)?, row.get(2)?, row.get(3)?);
                let token = Token { namespace, account, account_uid, bound, expires: row.get(7)? };
                Ok((row.get::<_, String>(0)?, token))
            })?;
            rows.collect::<rusqlite::Result<HashMap<_, _>>>()
        })?;
        *self.tokens() = loaded;
        self.forget_dead_tokens()
    }

    /// Drops the tokens of accounts, pods and Secrets that are gone, so that the table stays small.
    fn forget_dead_tokens(&self) -> Result<(), ApiError> {
        let known: Vec<(String, Token)> = self.tokens().iter().map(|(hash, token)| (hash.clone(), token.clone())).collect();
        for (hash, token) in known {
            if self.user_of(&token).is_none() {
                self.tokens().remove(&hash);
                self.registry.storage().with(|database| database.execute("DELETE FROM account_tokens WHERE hash = ?1", [&hash]))?;
            }
        }
        Ok(())
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No keys, no tokens.
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The text of a private file, written first where it is absent.
fn keep(path: PathBuf, make: impl FnOnce() -> Result<String, OpenError>) -> Result<String, OpenError> {
    match fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => return Ok(text),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::File { path, source }),
    }
    let text = make()?;
    // Under another name first: a crash leaves no half of a key.
    let unfinished = path.with_extension("new");
    let written = private_file(&unfinished)
        .and_then(|mut file| {
            file.set_len(0)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&unfinished, &path));
    match written {
        Ok(()) => Ok(text),
        Err(source) => Err(OpenError::File { path, source }),
    }
}

fn valid_for(params: &mut CertificateParams, years: i32) {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let (year, month) = (i32::from(today.year()), today.month().unsigned_abs());
    params.not_before = rcgen::date_time_ymd(year - 1, month, 1);
    params.not_after = rcgen::date_time_ymd(year + years, month, 1);
}

/// The authority is known by its name and key; both are the same after a restart.
fn ca_params(cluster: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("smov {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, 10);
    Ok(params)
}

fn server_params(addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut params = CertificateParams::new(names.map(str::to_owned))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "smov API server");
    for address in addresses {
        params.subject_alt_names.push(SanType::IpAddress(*address));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    valid_for(&mut params, 2);
    Ok(params)
}

fn uid(object: &serde_json::Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn random_token() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}
