//! Where a person sees how the capture goes: on the live screen, or in lines on standard error.

use super::picture::Picture;
#[cfg(feature = "screen")]
use super::screen::{Screen, Wish};
use crate::output::say;

/// The screen, or lines.
pub(super) enum Face {
    Lines,
    #[cfg(feature = "screen")]
    Screen(Box<Screen>),
}

impl Face {
    /// Takes over the terminal if that is wanted and can be done.
    pub(super) fn open(is_screen_wanted: bool, title: String) -> Self {
        #[cfg(feature = "screen")]
        if is_screen_wanted {
            match Screen::open(title) {
                Ok(screen) => return Self::Screen(Box::new(screen)),
                Err(error) => say(&format!("no live screen: {error}")),
            }
        }
        #[cfg(not(feature = "screen"))]
        let _ = (is_screen_wanted, title);
        Self::Lines
    }

    /// Returns whether somebody looks at pictures.
    pub(super) const fn is_screen(&self) -> bool {
        !matches!(self, Self::Lines)
    }

    /// Tells what happened.
    pub(super) fn note(&mut self, event: &str) {
        match self {
            Self::Lines => say(event),
            #[cfg(feature = "screen")]
            Self::Screen(screen) => screen.note(event),
        }
    }

    /// Shows a new picture.
    pub(super) fn show(&mut self, picture: &Picture) {
        match self {
            Self::Lines => {}
            #[cfg(feature = "screen")]
            Self::Screen(screen) => {
                if screen.draw(picture).is_err() {
                    // The terminal has gone away; the capture has not.
                    *self = Self::Lines;
                }
            }
        }
    }

    /// Returns whether the person has asked for the end.
    pub(super) fn wants_end(&self) -> bool {
        match self {
            Self::Lines => false,
            #[cfg(feature = "screen")]
            Self::Screen(_) => Screen::wish() == Wish::End,
        }
    }
}
