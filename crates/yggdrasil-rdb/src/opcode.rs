//! Numbers that stand in files of Redis, by the names that Redis has for them.

/// The newest version that is read: that of Redis 8.
pub const VERSION_MAX: u32 = 12;
/// The version that is written.
pub const VERSION: u32 = 12;

pub const SLOT_INFO: u8 = 244;
pub const FUNCTION2: u8 = 245;
pub const FUNCTION_PRE_GA: u8 = 246;
pub const MODULE_AUX: u8 = 247;
pub const IDLE: u8 = 248;
pub const FREQ: u8 = 249;
pub const AUX: u8 = 250;
pub const RESIZEDB: u8 = 251;
pub const EXPIRETIME_MS: u8 = 252;
pub const EXPIRETIME: u8 = 253;
pub const SELECTDB: u8 = 254;
pub const EOF: u8 = 255;

pub const MODULE: u8 = 6;
pub const MODULE_2: u8 = 7;

/// First version with a checksum behind the end.
pub const VERSION_WITH_CHECKSUM: u32 = 5;
