//! One key of the fleet policy: the last good text stays in force while a bad one stands there.

use std::sync::Arc;

/// One key.
pub(super) struct Kept<T> {
    /// The last good one, or why there never was one.
    pub(super) good: Result<Arc<T>, String>,
    /// What is wrong with the text as it stands now.
    pub(super) fault: Option<String>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept { good: Err("it was not read yet".to_owned()), fault: None }
    }
}

impl<T: PartialEq> Kept<T> {
    /// Takes what was read; answers whether anything has changed for those who ask, or what is wrong.
    pub(super) fn take(&mut self, parsed: Result<T, String>) -> Result<bool, String> {
        match parsed {
            Ok(new) => {
                let mended = self.fault.take().is_some();
                let same = self.good.as_ref().is_ok_and(|known| **known == new);
                if !same {
                    self.good = Ok(Arc::new(new));
                }
                Ok(!same || mended)
            }
            Err(fault) => {
                if self.good.is_err() {
                    self.good = Err(fault.clone());
                }
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    /// What is wrong with the text as it stands now, while the last good one is in force.
    pub(super) fn overruled(&self) -> Option<&str> {
        self.fault.as_deref().filter(|_| self.good.is_ok())
    }
}
