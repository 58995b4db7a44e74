//! The capture half: from a real server into a real broker's topic.

mod apply;
mod capture;
mod continuity;
mod kills;
