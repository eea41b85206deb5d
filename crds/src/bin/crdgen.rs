//! Writes the CustomResourceDefinitions into `crds/` and into the chart that ships them. `--check` only compares.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("TENANT_OPERATOR_ROOT"));
    let mut stale = false;
    for manifest in crds::manifest::all() {
        let wanted = crds::manifest::render(&manifest);
        for folder in ["crds", "charts/tenant-operator-crds/templates"] {
            let path = root.join(folder).join(manifest.file);
            if std::fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
                continue;
            }
            stale = true;
            if check {
                eprintln!("{folder}/{} is stale: run `cargo run -p crds --bin crdgen`", manifest.file);
            } else if let Err(error) =
                std::fs::create_dir_all(root.join(folder)).and_then(|()| std::fs::write(&path, &wanted))
            {
                eprintln!("cannot write {folder}/{}: {error}", manifest.file);
                return ExitCode::FAILURE;
            }
        }
    }
    if check && stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
