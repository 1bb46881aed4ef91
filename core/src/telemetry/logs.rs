//! Lines, as text or as JSON.

use std::fmt::{self, Write};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::{LogFormat, RunningCall, SPANS};

/// In JSON the fields of an event stand at the top, and what is said of the call it belongs to in `call`.
pub(super) fn layer<S>(
    filter: &str,
    format: LogFormat,
    to: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<Box<dyn Layer<S> + Send + Sync>, ParseError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::builder().parse(filter)?.add_directive(format!("{SPANS}=off").parse()?);
    let lines = tracing_subscriber::fmt::layer().with_writer(to).with_ansi(false);
    let lines = match format {
        LogFormat::Text => lines.event_format(OfCall { inner: Format::default(), add: as_text }).boxed(),
        LogFormat::Json => {
            let inner = Format::default().json().flatten_event(true).with_span_list(false);
            lines.fmt_fields(JsonFields::new()).event_format(OfCall { inner, add: as_json }).boxed()
        }
    };
    Ok(lines.with_filter(filter).boxed())
}

/// Adds to a line what is known of the call it belongs to. A span would say the same, but is written out when it begins,
/// and most calls have no line.
struct OfCall<F> {
    inner: F,
    /// To a line without its end.
    add: fn(&mut String, &RunningCall),
}

impl<S, N, F> FormatEvent<S, N> for OfCall<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // An event without a parent says by itself what it belongs to.
        let added = (!event.is_root()).then(|| {
            RunningCall::present(|call| {
                let mut line = String::new();
                self.inner.format_event(context, Writer::new(&mut line), event)?;
                line.truncate(line.trim_end().len());
                (self.add)(&mut line, call);
                Ok(line)
            })
        });
        match added.flatten() {
            Some(line) => writeln!(writer, "{}", line?),
            None => self.inner.format_event(context, writer, event),
        }
    }
}

fn as_text(line: &mut String, call: &RunningCall) {
    call.each(|name, value| {
        let _ = write!(line, " {name}={value}");
    });
}

fn as_json(line: &mut String, call: &RunningCall) {
    let mut said = serde_json::Map::new();
    call.each(|name, value| drop(said.insert(name.to_owned(), value.into())));
    let closed = line.pop();
    debug_assert_eq!(closed, Some('}'));
    let _ = write!(line, ",\"call\":{}}}", serde_json::Value::Object(said));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::job::Job;
    use crate::manifest::Effect;
    use crate::testing::JobBuilder;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written by a line of a call, by one of its that stands for itself, and by one of no call.
    fn lines(format: LogFormat, job: &Arc<Job>) -> Vec<String> {
        let written = Written::default();
        let to = {
            let written = written.clone();
            move || written.clone()
        };
        let subscriber = tracing_subscriber::registry().with(layer("info", format, to).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            let of_call = async {
                tracing::warn!(port = 7, "the \"vendor\" is late");
                tracing::warn!(parent: None, "says all itself");
            };
            let traced = tracing::info_span!(target: SPANS, "execute");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(RunningCall::new(job.clone(), 2).around(of_call.instrument(traced)));
            tracing::warn!("of no call");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_says_which_call_it_belongs_to() {
        let job = Arc::new(JobBuilder::new(Effect::Once).build());
        let lines = lines(LogFormat::Text, &job);
        assert_eq!(lines.len(), 3);
        let said = format!(
            "the \"vendor\" is late port=7 execution_id={} organization={} trace_id=0af7651916cd43dd8448eb211c80319c \
             service=wildberries operation=orders start=2",
            job.execution_id, job.organization
        );
        assert!(lines[0].ends_with(&said), "{}", lines[0]);
        assert!(lines[1].ends_with("says all itself") && lines[2].ends_with("of no call"), "{lines:?}");
    }

    #[test]
    fn and_so_does_a_line_in_json() {
        let job = Arc::new(JobBuilder::new(Effect::Once).build());
        let lines: Vec<serde_json::Value> =
            lines(LogFormat::Json, &job).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["message"], &lines[0]["port"]), (&"the \"vendor\" is late".into(), &7.into()));
        let call = &lines[0]["call"];
        assert_eq!(call["execution_id"], job.execution_id.as_str());
        assert_eq!((&call["service"], &call["start"]), (&"wildberries".into(), &"2".into()));
        assert!(lines[1]["call"].is_null() && lines[2]["call"].is_null(), "{lines:?}");
    }
}
