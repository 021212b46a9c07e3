//! Python binding of the engine: conversions and error mapping, nothing else.

mod buffer;
mod clock;
mod confined;
mod connection;
mod context;
mod control;
mod convert;
mod decode;
mod errors;
mod guests;
mod heap;
mod inspect;
mod libraries;
mod log;
mod near;
mod node;
mod rdb;
mod rows;
mod simulate;
mod snapshot;
mod socket;
mod tls;
mod users;
mod worker;

use pyo3::pymodule;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::connection::Connection;
    #[pymodule_export]
    use crate::connection::ConnectionFactory;
    #[pymodule_export]
    use crate::context::Context;
    #[pymodule_export]
    use crate::control::{Control, counter_specs};
    #[pymodule_export]
    use crate::convert::{Members, Verbatim};
    #[pymodule_export]
    use crate::errors::{ConfigError, DamageError, ReplyError, YggdrasilError};
    #[pymodule_export]
    use crate::guests::GuestPage;
    #[pymodule_export]
    use crate::log::{LogRecovery, MovedShard};
    #[pymodule_export]
    use crate::near::{
        NearBufferError, NearError, NearKindError, NearReader, NearRefusedError,
        NearUnavailableError, NearView, refers_to_objects,
    };
    #[pymodule_export]
    use crate::node::{NodeShape, create_segments, key_slot};
    #[pymodule_export]
    use crate::rdb::{RdbItem, RdbReader};
    #[pymodule_export]
    use crate::rows::engine_commands;
    #[pymodule_export]
    use crate::simulate::{
        CaptureWriter, Simulation, detect_trace_format, simulated_policies, trace_formats,
    };
    #[pymodule_export]
    use crate::snapshot::parts::RecordParts;
    #[pymodule_export]
    use crate::snapshot::{SnapshotLoader, SnapshotStore, Snapshotter};
    #[pymodule_export]
    use crate::tls::{TlsContext, tls_ciphers};
    #[pymodule_export]
    use crate::users::readable_prefixes;
    #[pymodule_export]
    use crate::worker::Worker;

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        use yggdrasil_admission::simulator::capture;
        use yggdrasil_core::{control, engine, keyspace, lease};
        use yggdrasil_log::disk::Persist;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("ARENA_BYTES_MAX", keyspace::SEGMENT_BYTES_MAX)?;
        module.add("ACL_CATEGORIES", yggdrasil_core::acl::CATEGORIES)?;
        module.add("CAPTURE_SHIFT_MAX", capture::SHIFT_MAX)?;
        module.add("COMPATIBLE_VERSION", engine::COMPATIBLE_VERSION)?;
        module.add("DATABASES_MAX", keyspace::DATABASES_MAX)?;
        module.add("HASH_SLOTS", keyspace::slot::SLOTS)?;
        module.add("LEASES_MAX", lease::SLOTS_MAX)?;
        module.add("LOG_PERSISTS", Persist::ALL.map(Persist::name))?;
        module.add("NEAR_PROTOCOL_VERSION", yggdrasil_near::PROTOCOL_VERSION)?;
        module.add("PIN_PREFIXES_MAX", keyspace::PIN_RULES_MAX)?;
        module.add("SHARDS_MAX", control::SHARDS_MAX)?;
        module.add("TAG_SERIAL_BITS", engine::TAG_SERIAL_BITS)
    }
}
