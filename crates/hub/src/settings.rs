//! Cache, endpoint and token, from the environment variables that Python's `huggingface_hub` reads.

use std::path::PathBuf;

/// How to reach the hub. [`Settings::from_env`] is what a program wants; the fields are for tests and for flags.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cache's folder, that of `models--org--name` and its like.
    pub cache: PathBuf,
    /// The hub's address, without a slash at the end.
    pub endpoint: String,
    /// Sent with every request, if there is one.
    pub token: Option<String>,
    /// Whether only the cache is used.
    pub offline: bool,
}

/// Without the token.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish()
    }
}

impl Settings {
    /// From `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_TOKEN` (or the file `token` in
    /// `HF_HOME`, unless `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set), `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_variables(var: impl Fn(&str) -> Option<String>) -> Self {
        let on = |name| {
            var(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
        };
        let home = var("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let user = var("HOME").map(PathBuf::from).unwrap_or_default();
            let caches = var("XDG_CACHE_HOME").map_or_else(|| user.join(".cache"), PathBuf::from);
            caches.join("huggingface")
        });
        let stored = || {
            let token = std::fs::read_to_string(home.join("token")).ok()?;
            Some(token.trim().to_string()).filter(|t| !t.is_empty() && !on("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            token: var("HF_TOKEN").map(|t| t.trim().to_string()).or_else(stored),
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            offline: on("HF_HUB_OFFLINE") || on("TRANSFORMERS_OFFLINE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn variables_mean_what_they_mean_to_python() {
        let plain = with(&[("HOME", "/nowhere/u")]);
        assert_eq!(plain.cache, PathBuf::from("/nowhere/u/.cache/huggingface/hub"));
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        assert_eq!(with(&[("HF_HOME", "/nowhere/h")]).cache, PathBuf::from("/nowhere/h/hub"));
        let all = with(&[
            ("HF_HOME", "/nowhere/h"),
            ("HF_HUB_CACHE", "/nowhere/c"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_TOKEN", " secret\n"),
            ("HF_HUB_OFFLINE", "ON"),
        ]);
        assert_eq!((all.cache.to_str(), all.endpoint.as_str()), (Some("/nowhere/c"), "http://mirror"));
        assert!(with(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(all.offline && all.token.as_deref() == Some("secret"));
        assert!(!format!("{all:?}").contains("secret"));
    }
}
