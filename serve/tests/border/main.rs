//! The border from outside: credentials that count and ten thousand that nearly do, sockets that are slow, keys that
//! change, and a service that is told to stop in the middle of its work.

mod credentials;
mod keys;
mod mutations;
mod requests;
mod sockets;
mod world;
