//! How a planted secret is looked for. The unit tests of the key providers use this file too.

use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tracing::dispatcher::{DefaultGuard, Dispatch, set_default};
use tracing::field::{Field, Visit};

/// How a secret may stand in a text.
pub(crate) fn forms(secret: &[u8]) -> Vec<String> {
    let decimal: Vec<_> = secret.iter().map(u8::to_string).collect();
    // Inside a longer text, base64 begins at one of three offsets.
    let shifted = (0..3).map(|skip| {
        let text = STANDARD.encode(&secret[skip..]);
        text[..text.len() - 4].to_owned()
    });
    let mut forms = vec![
        String::from_utf8_lossy(secret).into_owned(),
        secret.escape_ascii().to_string(),
        hex::encode(secret),
        hex::encode_upper(secret),
        URL_SAFE_NO_PAD.encode(secret),
        decimal.join(", "),
        decimal.join(","),
    ];
    forms.extend(shifted);
    forms
}

/// Everything that is traced in this thread, as text.
#[derive(Clone, Default)]
pub(crate) struct Traced(Arc<Mutex<String>>);

impl Traced {
    /// Takes down everything until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        // Where there is one subscriber alone, whichever thread first comes by an event decides for
        // all whether it is wanted, and most threads have none.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Traced::default()));
        LazyLock::force(&SECOND);
        let traced = Self::default();
        let guard = set_default(&Dispatch::new(traced.clone()));
        (traced, guard)
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = writeln!(self.0.lock().unwrap(), "{field}={value:?}");
    }
}

impl tracing::Subscriber for Traced {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
