//! The page's files: embedded in the binary, or from a folder (`--ui-dir`, the ConfigMap `ui-files`) with the embedded ones behind it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "ui/"]
struct Embedded;

/// Where the page's files come from.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    folder: Option<PathBuf>,
    english: bool,
}

impl Assets {
    /// The embedded files.
    pub fn embedded() -> Self {
        Self::default()
    }

    /// The folder's files; the embedded ones where it has none.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// The same files, with this language (`ko`, `en`) for browsers that have chosen none: written into the page itself, so that the first
    /// paint is in it.
    #[must_use]
    pub fn speaking(self, language: &str) -> Self {
        Self { english: language == "en", ..self }
    }

    /// Answers a GET or HEAD for a file (`index.html`, `css/tokens.css`). `version` is the query's `v`.
    pub(crate) async fn serve(&self, path: &str, version: Option<&str>, method: &Method, headers: &HeaderMap) -> Response {
        let Some(mut content) = self.read(path).await else { return Problem::not_found().into_response() };
        if self.english && path == "index.html" {
            let page = String::from_utf8_lossy(&content).replacen("<html lang=\"ko\">", "<html lang=\"en\">", 1);
            content = Cow::Owned(page.into_bytes());
        }
        let tag = hex(&Sha256::digest(&content)[..16]);
        let quoted = format!("\"{tag}\"");
        let fresh = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let fresh = fresh.is_some_and(|tags| {
            tags.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), "*") || tag.trim().trim_start_matches("W/") == quoted)
        });
        let named = version.is_some_and(|version| version.len() >= 8 && tag.starts_with(version));
        let caching = if named { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else if method == Method::HEAD {
            [(header::CONTENT_LENGTH, content.len().to_string())].into_response()
        } else {
            content.into_owned().into_response()
        };
        let own = response.headers_mut();
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        own.extend(HeaderValue::from_str(&quoted).map(|tag| (header::ETAG, tag)));
        response
    }

    async fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        if !is_plain(path) {
            return None;
        }
        if let Some(folder) = &self.folder
            && let Ok(content) = tokio::fs::read(folder.join(Path::new(path))).await
        {
            return Some(Cow::Owned(content));
        }
        // The page's own tests and its manifest lie beside it, but are not part of it.
        if path.starts_with("tests/") || path == "kustomization.yaml" {
            return None;
        }
        Embedded::get(path).map(|file| file.data)
    }
}

/// A path of plain names only: nothing hidden, nothing upward, nothing absolute.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', ':', '\0']))
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_files() {
        for path in ["index.html", "css/tokens.css", "x-lamps/x-lamps.js"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../Cargo.toml", "a/../../b", ".git/config", "a//b", "a/.hidden", "c:\\x", "a\\b"] {
            assert!(!is_plain(path), "{path}");
        }
    }
    #[tokio::test]
    async fn the_page_itself_carries_the_default_language() {
        let page = |assets: Assets| async move {
            let answer = assets.serve("index.html", None, &Method::GET, &HeaderMap::new()).await;
            String::from_utf8(axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
        };
        assert!(page(Assets::embedded()).await.contains("<html lang=\"ko\">"));
        assert!(page(Assets::embedded().speaking("en")).await.contains("<html lang=\"en\">"));
    }
}
