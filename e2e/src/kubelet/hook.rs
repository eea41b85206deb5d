//! Lifecycle hooks of a container: what runs after its start and before its end.

use k8s_openapi::api::core::v1::LifecycleHandler;

use super::launch::Launch;
use super::probe;

/// Runs a hook to its end. Dropped, its process is killed.
///
/// # Errors
/// How it failed, in the words of a kubelet.
pub(super) async fn run(launch: &Launch, handler: &LifecycleHandler) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let argv = exec.command.clone().unwrap_or_default();
        let shown = argv.join(" ");
        match launch.exec(argv)?.exit().await {
            0 => Ok(()),
            code => Err(format!("command {shown:?} exited with {code}")),
        }
    } else if let Some(get) = &handler.http_get {
        probe::http_get(launch, get).await.map(drop)
    } else if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(launch.sandbox.node.pace.seconds(sleep.seconds)).await;
        Ok(())
    } else {
        Err("hooks of this type are not supported here".into())
    }
}
