//! The capture half: from a real server into a real broker's topic.

mod capture;
mod continuity;
mod kills;
