//! Reads the file of principals again when it has changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info};

use crate::config::PrincipalsFile;
use crate::config::principals::{read, sentence};
use crate::config::sources::principals_in;
use crate::domain::access::Principals;
use crate::http::{AuditLevel, note_reload};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// Time between two looks at the file. Its content counts when two looks have found the same, so that a file that is half written does
/// not count.
const INTERVAL: Duration = Duration::from_secs(1);

/// The principals of the file, from now on until the process ends. A file that cannot be read, or has mistakes, changes nothing.
pub fn keep_up_to_date(
    file: PrincipalsFile,
    audit: AuditLevel,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
) -> watch::Receiver<Arc<Principals>> {
    let (sender, receiver) = watch::channel(file.principals);
    if let Some(path) = file.path {
        let looks = Looks { path, most: file.most, current: Ok(file.content), candidate: None };
        let (metrics, lifecycle) = (metrics.clone(), lifecycle.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = looks.go_on(&sender, audit, &metrics) => {}
                () = lifecycle.aborting() => {}
            }
        });
    }
    receiver
}

/// The looks at the file.
struct Looks {
    path: PathBuf,
    most: usize,
    /// The content that the gateway has read last, or the reason why it could not.
    current: Found,
    /// The content that the last look has found, if it differs.
    candidate: Option<Found>,
}

type Found = Result<String, String>;

impl Looks {
    async fn go_on(
        mut self,
        principals: &watch::Sender<Arc<Principals>>,
        audit: AuditLevel,
        metrics: &Metrics,
    ) {
        loop {
            sleep(INTERVAL).await;
            let path = self.path.to_string_lossy().into_owned();
            let found = spawn_blocking(move || principals_in(&path)).await;
            if let Some(content) = self.look(found.unwrap_or_else(|error| Err(error.to_string()))) {
                let most = self.most;
                // A large file takes long to read.
                let read =
                    spawn_blocking(move || content.map_err(|why| vec![why]).and_then(|it| read(&it, most)));
                let read = read.await.unwrap_or_else(|error| Err(vec![error.to_string()]));
                take(read, principals, audit, metrics);
            }
        }
    }

    /// Notes the content that a look has found. Returns it when it is new and the last look has found the same.
    fn look(&mut self, found: Found) -> Option<Found> {
        if self.current == found {
            self.candidate = None;
            return None;
        }
        if self.candidate.as_ref() != Some(&found) {
            self.candidate = Some(found);
            return None;
        }
        self.candidate = None;
        self.current.clone_from(&found);
        Some(found)
    }
}

/// Puts principals in force, or tells the mistakes.
fn take(
    read: Result<Principals, Vec<String>>,
    principals: &watch::Sender<Arc<Principals>>,
    audit: AuditLevel,
    metrics: &Metrics,
) {
    let result = match read {
        Ok(read) => {
            info!(principals = read.len(), "the file of principals has changed, and is in force");
            let read = Arc::new(read);
            let before = principals.send_replace(Arc::clone(&read));
            note_reload(audit, Some(&read.difference_from(&before)));
            "done"
        }
        Err(mistakes) => {
            let mistakes = sentence(&mistakes);
            error!(mistakes, "the file of principals is wrong, so the principals before it stay");
            note_reload(audit, None);
            "failed"
        }
    };
    metrics.process.principals_reloads.with_label_values(&[result]).inc();
    metrics.process.principals_file_failed.set((result == "failed").into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_counts_when_two_looks_have_found_it() {
        let found = |text: &str| Ok(text.to_owned());
        let mut looks = Looks { path: PathBuf::new(), most: 10, current: found("a"), candidate: None };
        for (content, counts) in [
            ("a", false),
            ("half", false),
            ("b", false),
            ("a", false),
            ("b", false),
            ("b", true),
            ("b", false),
            ("a", false),
            ("a", true),
        ] {
            assert_eq!(looks.look(found(content)), counts.then(|| found(content)), "{content}");
        }
        assert_eq!(looks.look(Err("gone".to_owned())), None);
        assert_eq!(looks.look(Err("gone".to_owned())), Some(Err("gone".to_owned())));
        assert_eq!(looks.look(Err("gone".to_owned())), None, "it is told once");
    }

    #[test]
    fn a_file_with_mistakes_changes_nothing() {
        let metrics = Metrics::default();
        let (sender, receiver) = watch::channel(Arc::default());
        let is_wrong = || metrics.process.principals_file_failed.get() == 1;
        take(read("[principals.shop]", 10), &sender, AuditLevel::Off, &metrics);
        assert_eq!((receiver.borrow().len(), is_wrong()), (1, false));
        for wrong in [read("principals = 1", 10), read("[", 10), Err(vec!["gone".to_owned()])] {
            take(wrong, &sender, AuditLevel::Off, &metrics);
            assert_eq!((receiver.borrow().len(), is_wrong()), (1, true));
        }
        let count = |result| metrics.process.principals_reloads.with_label_values(&[result]).get();
        assert_eq!((count("done"), count("failed")), (1, 3));
        take(read("", 10), &sender, AuditLevel::Off, &metrics);
        assert_eq!((receiver.borrow().len(), is_wrong()), (0, false));
    }
}
