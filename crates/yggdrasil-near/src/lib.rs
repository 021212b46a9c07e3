//! Reads a node of Yggdrasil on the same machine through its shared memory.
//!
//! [`NearReader::connect`] is given the node's arenas over its near socket. From then on a read is a look into memory:
//! no system call, no message, nothing that the node would notice. Values are copied under a check that they belong
//! together; large ones can be looked at where they are ([`NearReader::view`]), under a lease that keeps their memory
//! as it is.
//!
//! ```no_run
//! # fn main() -> Result<(), yggdrasil_near::NearError> {
//! let mut reader = yggdrasil_near::NearReader::connect("/var/lib/yggdrasil/near.sock", &Default::default())?;
//! if let Some(value) = reader.get(b"greeting")? {
//!     println!("{} bytes", value.len());
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod link;
mod reader;
mod session;
mod view;

pub use error::NearError;
pub use link::PROTOCOL_VERSION;
pub use reader::{NearReader, Options, Small, SmallInto};
pub use view::View;
