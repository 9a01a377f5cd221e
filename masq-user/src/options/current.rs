//! The configuration in force, for the services of the daemon: a reload replaces it as a whole.

use std::{cell::RefCell, rc::Rc};

use crate::config::Config;

/// The configuration in force.
#[derive(Debug)]
pub struct Current(RefCell<Rc<Config>>);

impl Current {
    /// At the start of a daemon.
    pub const fn new(config: Rc<Config>) -> Self {
        Self(RefCell::new(config))
    }

    /// What holds now. Not to be kept for longer than one piece of work.
    pub fn get(&self) -> Rc<Config> {
        Rc::clone(&self.0.borrow())
    }

    /// What holds from now on.
    pub fn set(&self, config: Rc<Config>) {
        *self.0.borrow_mut() = config;
    }
}
