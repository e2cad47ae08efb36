//! What a declaration of a view event is, and how it meets the ABIs.

use std::collections::HashMap;

use alloy_json_abi::{Event, Function};
use alloy_primitives::B256;
use plimsoll_types::ViewKind;

/// One view event: everything that Plimsoll needs to know to mirror, trail, link or ignore it.
///
/// It applies to whichever configured contract has, in its ABI, an event with this signature and these indexed parameters.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The event as Solidity writes it, with `indexed` and parameter names: they name the fields of the mirrored value.
    pub event: &'static str,
    /// The view's name: `view_mirror.view`, `view_trail.view`, and the metrics' label.
    pub view: &'static str,
    /// What kind of view it is, for the apply log.
    pub kind: ViewKind,
    /// The parameters that key it, joined by `/`; none: the contract has one row. The other parameters are its value.
    pub key: &'static [&'static str],
    /// What is done with it.
    pub mode: Mode,
}

/// What the fold does with an event.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// The authority over `position_cache_mirror` (spec 1 §5.1).
    Position {
        /// The contract's getters: see [`Mode::Mirror`].
        getters: &'static [&'static str],
    },
    /// The position view had this request already (spec 1 §2.2).
    Replay,
    /// A router's push: a trace, linked to what the position view made of it (spec 1 §5.2).
    Push,
    /// A view that could not be written (spec 1 §5.3). Its parameter `reason` holds the revert data.
    Failure {
        /// The parameter that names the view which failed.
        view: &'static str,
    },
    /// The latest value is kept in `view_mirror`.
    Mirror {
        /// The contract's own getters of the value, as Solidity writes them. Arguments are named as key parameters; outputs that are
        /// named as value fields must equal them, others are passed over. Empty: the contract keeps nothing to compare with.
        getters: &'static [&'static str],
    },
    /// Each event is a row of `view_trail`.
    Trail,
    /// On record in the apply log, and no more.
    Ignored,
}

impl Mode {
    /// The getters that `verify` compares with.
    #[must_use]
    pub fn getters(&self) -> &'static [&'static str] {
        match self {
            Self::Position { getters } | Self::Mirror { getters } => getters,
            Self::Replay | Self::Push | Self::Failure { .. } | Self::Trail | Self::Ignored => &[],
        }
    }
}

/// A declaration with its event parsed.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) declaration: &'static Declaration,
    pub(crate) event: Event,
}

impl Declaration {
    pub(crate) fn parsed(&'static self) -> Event {
        Event::parse(self.event).expect("the table of declarations is tested: every event in it parses")
    }

    /// The names of its value's fields: the parameters that are not its key.
    pub(crate) fn value_fields(&'static self) -> Vec<String> {
        let names = self.parsed().inputs.into_iter().map(|input| input.name);
        names.filter(|name| !self.key.contains(&name.as_str())).collect()
    }

    /// Its getters, parsed.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let parse = |text| {
            Function::parse(text).expect("the table of declarations is tested: every getter in it parses")
        };
        self.mode.getters().iter().copied().map(parse).collect()
    }
}

/// Declarations, to be found by what an ABI says of an event.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    by_selector: HashMap<B256, Vec<Prepared>>,
}

impl Table {
    pub(crate) fn new(declarations: &'static [Declaration]) -> Self {
        let mut by_selector: HashMap<_, Vec<_>> = HashMap::new();
        for declaration in declarations {
            let event = declaration.parsed();
            by_selector.entry(event.selector()).or_default().push(Prepared { declaration, event });
        }
        Self { by_selector }
    }

    /// The declaration of an event with this signature and these indexed parameters.
    pub(crate) fn find(&self, event: &Event) -> Option<&Prepared> {
        let indexed = |event: &Event| event.inputs.iter().map(|input| input.indexed).collect::<Vec<_>>();
        let same = |prepared: &&Prepared| indexed(&prepared.event) == indexed(event);
        self.by_selector.get(&event.selector())?.iter().find(same).filter(|_| !event.anonymous)
    }

    /// Whether an event of this signature is declared, with whatever indexed parameters.
    pub(crate) fn knows_signature(&self, event: &Event) -> bool {
        self.by_selector.contains_key(&event.selector())
    }
}
