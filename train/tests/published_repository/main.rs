//! The published repository, as devices see it: every attack on it is refused, each in its own words.
//!
//! | module | question |
//! |---|---|
//! | `attacks` | is each attack that TUF names refused, and as what? |
//! | `damage` | is a cut, swapped, oversized or flipped file refused, wherever it is hit? |
//! | `rotation` | are replaced keys followed, and old ones dropped? |
//! | `publisher` | does the writer refuse what devices would, and survive a crash between any two writes? |
//! | `interop` | does python-tuf, the reference implementation, agree? |

mod workshop;

mod attacks;

mod damage;

mod rotation;

mod publisher;

mod interop;
