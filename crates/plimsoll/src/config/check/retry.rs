//! Who retries on which chain, and how.

use std::collections::HashMap;

use super::{Check, duration, narrow};
use crate::config::read::Group;
use crate::config::schema::did_you_mean;
use crate::config::source::shorten;
use crate::config::{Retry, Signer};

impl Check<'_> {
    /// `None` where a problem was noted. `are_signers_unsure`: one could not be read, so that a name that none has may be its.
    pub(super) fn retry(
        &mut self,
        group: &Group,
        signers: &[Signer],
        are_signers_unsure: bool,
    ) -> Option<Retry> {
        let mut of_chains = HashMap::new();
        let mut is_good = true;
        for (name, origin) in group.texts("signers") {
            let Some(signer) = signers.iter().find(|signer| signer.policy.name == *name) else {
                is_good = false;
                if !are_signers_unsure {
                    let names = signers.iter().map(|signer| signer.policy.name.as_str());
                    let meant = did_you_mean(name, names)
                        .map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
                    self.problems.add(
                        origin.clone(),
                        format!(
                            "`retry.signers` names \"{}\", and no signer is called so{meant}",
                            shorten(name)
                        ),
                        "write the `name` of one of `[[signers]]`",
                    );
                }
                continue;
            };
            let policy = &signer.policy;
            if let Some(other) = of_chains.insert(policy.chain_id, policy.address) {
                is_good = false;
                self.problems.add(
                    origin.clone(),
                    format!(
                        "`retry.signers` names two signers of chain {}: {} and {}",
                        policy.chain_id,
                        plimsoll_types::address_text(&other),
                        plimsoll_types::address_text(&policy.address)
                    ),
                    "keep one of the two",
                );
            }
        }
        let automatic = group.texts("automatic").iter().map(|(code, _)| code.clone()).collect();
        is_good.then_some(())?;
        Some(Retry {
            signers: of_chains,
            automatic,
            automatic_per_hour: narrow(group.integer("automatic_per_hour"))?,
            max_attempts: narrow(group.integer("max_attempts"))?,
            cool_down: duration(group, "cool_down_ms")?,
            backoff: duration(group, "backoff_ms")?,
            max_backoff: duration(group, "max_backoff_ms")?,
            interval: duration(group, "interval_ms")?,
        })
    }
}
