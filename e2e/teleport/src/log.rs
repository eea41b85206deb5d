//! Lines of a process on stderr: one JSON object each, in the shape of Teleport's `format.output: json`.

use std::fmt::Display;
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};

/// Writes log lines.
#[derive(Clone)]
pub(crate) struct Log(Arc<dyn Fn(&str) + Send + Sync>);

impl Log {
    pub(crate) fn new(sink: Arc<dyn Fn(&str) + Send + Sync>) -> Log {
        Log(sink)
    }

    pub(crate) fn info(&self, message: &str, fields: Value) {
        self.line("info", message, fields);
    }

    pub(crate) fn warn(&self, message: &str, fields: Value) {
        self.line("warning", message, fields);
    }

    pub(crate) fn error(&self, message: &str, error: &dyn Display) {
        self.line("error", message, serde_json::json!({ "error": error.to_string() }));
    }

    /// A bare line: what a command prints.
    pub(crate) fn print(&self, line: &str) {
        (self.0)(line);
    }

    fn line(&self, level: &str, message: &str, fields: Value) {
        let mut line = Map::new();
        line.insert("timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true).into());
        line.insert("level".into(), level.into());
        line.insert("message".into(), message.into());
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        (self.0)(&Value::Object(line).to_string());
    }
}
