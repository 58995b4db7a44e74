//! HTTP/1.1 by hand: the moment of `100 Continue`, a redirect before a body is read, a reset and half a reply are what the
//! stand-in is for, and no framework gives them.

mod body;
mod connection;
mod listener;
mod reply;
mod request;

pub use body::{BodyLost, Pace};
pub use connection::{Connection, Next};
pub use listener::{Node, NodeState, bind, listen};
pub use reply::Reply;
pub use request::{Length, Request, basic_authorization};
