//! Log lines: for people or for machines, on standard error, and panics among them. Beside them, where they are told, spans.
//!
//! The three keys (`request_id`, `tenant_id`, `user_id`) are fields of events and spans where they are known; in JSON
//! they stand at the top of the line, so that one query finds a request across processes.

use std::io::IsTerminal as _;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use crate::config::{LogFormat, Logging};
use crate::failure::Failure;
use crate::telemetry::Spans;

/// Before the directives of the configuration: libraries speak up only when something is wrong.
const QUIET_LIBRARIES: &str = "sqlx=warn,hyper=warn,h2=warn,rustls=warn,reqwest=warn,tungstenite=warn";

/// Installs the subscriber and the panic hook. `RUST_LOG` comes before the configured level; spans are told whatever the two say.
pub(crate) fn install(logging: &Logging, spans: Option<Spans>) -> Result<(), Failure> {
    let (rust_log, colours) = (std::env::var("RUST_LOG").ok(), std::io::stderr().is_terminal());
    subscriber(logging, rust_log, std::io::stderr, colours, spans).try_init()?;
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            panic = message,
            location,
            thread = std::thread::current().name().unwrap_or("unnamed"),
            backtrace = %std::backtrace::Backtrace::capture(),
            "panicked; this is a defect of Plimsoll, please report it with this line"
        );
        if !tracing::enabled!(tracing::Level::ERROR) {
            default(panic);
        }
    }));
    Ok(())
}

fn subscriber<W>(
    logging: &Logging,
    rust_log: Option<String>,
    writer: W,
    colours: bool,
    spans: Option<Spans>,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let directives = rust_log.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| logging.level.clone());
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET_LIBRARIES},{directives}"));
    // A line that cannot be written (the disk is full) is lost. Saying so on standard error, which is where it was to go, would panic.
    let lines = fmt::layer().log_internal_errors(false).with_writer(writer);
    let lines = match logging.format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
        LogFormat::Text => lines.with_ansi(colours).boxed(),
    };
    match spans {
        None => Box::new(registry().with(lines).with(filter)),
        Some(spans) => {
            Box::new(registry().with(lines.with_filter(filter)).with(spans.with_filter(Spans::filter())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, rust_log: Option<&str>, speak: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let logging = Logging { format, level: level.into() };
        let subscriber =
            subscriber(&logging, rust_log.map(str::to_owned), move || writer.clone(), false, None);
        tracing::subscriber::with_default(subscriber, speak);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_carry_the_keys_at_the_top() {
        let line = logged(LogFormat::Json, "info", None, || {
            tracing::info!(request_id = "r", tenant_id = "t", user_id = "u", "did it");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["request_id"], &line["tenant_id"], &line["user_id"]),
            (&"r".into(), &"t".into(), &"u".into())
        );
        assert_eq!(line["message"], "did it");
    }

    #[test]
    fn rust_log_comes_before_the_configured_level() {
        let speak = || tracing::debug!("whispered");
        assert_eq!(logged(LogFormat::Text, "info", None, speak), "");
        assert!(logged(LogFormat::Text, "info", Some("debug"), speak).contains("whispered"));
        assert_eq!(logged(LogFormat::Text, "debug", Some("warn"), speak), "");
    }
}
