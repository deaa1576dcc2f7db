//! A whole device: models and wallet over one storage, driven by commands.

use plimsoll_edge::wire;

use crate::bundle::Bundle;
use crate::bytes::{Bytes, lent};
use crate::guard::{Failure, Status, guarded};

/// A payer's device. Used by one thread at a time.
pub struct Device(wire::Device);

/// Opens the device whose state the setup names, or begins a new one.
///
/// `setup`: JSON, see `plimsoll_edge::wire::Setup`. On `PLIMSOLL_STATUS_OK`, `device` is set, to be given back to
/// `plimsoll_device_free`, and the answer is no bytes; otherwise `device` is set to null.
///
/// # Safety
/// `setup` is readable for its length; `device` and `answer` are null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_device_open(
    setup: *const u8,
    setup_len: usize,
    device: *mut *mut Device,
    answer: *mut Bytes,
) -> Status {
    if device.is_null() {
        // SAFETY: null or writable.
        return unsafe { guarded(answer, || Err(Failure::Argument("device"))) };
    }
    // SAFETY: not null, so writable.
    unsafe { device.write(std::ptr::null_mut()) };
    let call = || {
        // SAFETY: readable for its length.
        let setup = unsafe { lent(setup, setup_len) }.ok_or(Failure::Argument("setup"))?;
        let opened = Box::into_raw(Box::new(Device(wire::Device::open(wire::read("setup", setup)?)?)));
        // SAFETY: not null, so writable. The last step, so a handle is given only with `Ok`.
        unsafe { device.write(opened) };
        Ok(Vec::new())
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// Verifies the newest release in a bundle and installs it, if it is newer than what runs.
///
/// `terms`: JSON, `{"now": UTC seconds}`. The answer is `{"model_version": …, "new": …}`.
///
/// # Safety
/// `device` is null or from `plimsoll_device_open` and not freed, and used by nobody else now; `bundle` is null or from
/// `plimsoll_bundle_new` and not freed; `terms` is readable for its length; `answer` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_device_install(
    device: *mut Device,
    bundle: *const Bundle,
    terms: *const u8,
    terms_len: usize,
    answer: *mut Bytes,
) -> Status {
    let call = || {
        // SAFETY: null or a live device that nobody else uses now.
        let device = unsafe { device.as_mut() }.ok_or(Failure::Argument("device"))?;
        // SAFETY: null or a live bundle.
        let bundle = unsafe { bundle.as_ref() }.ok_or(Failure::Argument("bundle"))?;
        // SAFETY: readable for its length.
        let terms = unsafe { lent(terms, terms_len) }.ok_or(Failure::Argument("terms"))?;
        Ok(wire::write(&device.0.install(&bundle.0, &wire::read("terms", terms)?)?))
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// Does what it is told: `command` and answer are JSON, `{"limit": {"now": …}}`; see `plimsoll_edge::wire::Command`.
///
/// # Safety
/// `device` is null or from `plimsoll_device_open` and not freed, and used by nobody else now; `command` is readable
/// for its length; `answer` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_device_command(
    device: *mut Device,
    command: *const u8,
    command_len: usize,
    answer: *mut Bytes,
) -> Status {
    let call = || {
        // SAFETY: null or a live device that nobody else uses now.
        let device = unsafe { device.as_mut() }.ok_or(Failure::Argument("device"))?;
        // SAFETY: readable for its length.
        let command = unsafe { lent(command, command_len) }.ok_or(Failure::Argument("command"))?;
        Ok(wire::write(&device.0.command(&wire::read("command", command)?)?))
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// Frees a device. Null is fine. Its state stays where it is kept.
///
/// # Safety
/// `device` is null or from `plimsoll_device_open`, and is freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_device_free(device: *mut Device) {
    if !device.is_null() {
        // SAFETY: made by `Box::into_raw`, and freed once.
        drop(unsafe { Box::from_raw(device) });
    }
}
