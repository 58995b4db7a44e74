//! Write a hindsight rule in Rust: one function per entity, over borrowed rows.
//!
//! A rule implements [`Rule`] and ends with [`export!`]. The host gives it batches of packed columns
//! (`wit/transform.wit`); this crate shows them as an [`Entity`] at a time, with typed access that copies nothing, and
//! packs what the rule decides. Natively the same rule runs through [`native::Instance`], for tests and benches.

mod columns;
mod entity;
mod instance;
mod plan;

/// The contract as `wit-bindgen` gives it.
#[allow(unsafe_code, clippy::all, reason = "generated: the canonical ABI passes pointers")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "rule",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "hindsight_rule::bindings",
    });
}

pub use bindings::exports::hindsight::transform::transformer::{Description, Scope, Setting};
pub use bindings::hindsight::transform::types::{Field, LogicalType, Table};
pub use columns::{Row, Value};
pub use entity::{Cell, Change, Entity, Moved, Op, Opened, Shown};
pub use plan::{History, Plan, Settings, field};

/// The business decision.
///
/// One value is made per instance by `configure` and never changes: a rule that remembers something between calls of
/// `entity` is stopped by the host.
pub trait Rule: Sized + Send + Sync + 'static {
    /// Name, version, one line of summary, and the settings the rule knows.
    fn describe() -> Description;

    /// Reads the settings and the source's tables, and says what the rule wants to see and writes.
    ///
    /// # Errors
    /// A sentence for the person who wrote the configuration: what is wrong, and what to write instead.
    fn configure(tables: &[Table], settings: &Settings) -> Result<(Self, Plan), String>;

    /// Decides one entity: its history rows are shown, its changes come in the source's order.
    ///
    /// # Errors
    /// A sentence; it concerns the whole entity. Of single changes use [`Entity::reject`].
    fn entity(&self, entity: &mut Entity<'_, '_>) -> Result<(), String>;
}

/// Lines for the operator's log; natively they go nowhere.
pub mod log {
    pub use crate::bindings::hindsight::transform::log::Level;

    pub fn log(level: Level, message: &str) {
        #[cfg(target_arch = "wasm32")]
        crate::bindings::hindsight::transform::log::log(level, message);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (level, message);
    }
}

/// The same rule linked in, over the same columns: for tests and benches.
pub mod native {
    pub use crate::bindings::exports::hindsight::transform::transformer::{
        Batch, Changes, Deletes, Description, Guest, HistoryColumn, Images, Output, Plan, Reject, Revisions, Roles,
        Scope, Setting, TableUse, Upserts,
    };
    pub use crate::bindings::hindsight::transform::types::{Column, Field, LogicalType, Packed, Table, Values};
    pub use crate::instance::Instance;
}

/// Makes the component from a [`Rule`].
#[macro_export]
macro_rules! export {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: the component's exports")]
        const _: () = {
            use $crate::native::{Batch, Description, Guest, Output, Plan, Table};

            struct Component;

            /// Configured once for the instance's life; the host makes another instance for another schema.
            static INSTANCE: std::sync::OnceLock<$crate::native::Instance<$rule>> = std::sync::OnceLock::new();

            impl Guest for Component {
                fn describe() -> Description {
                    <$rule as $crate::Rule>::describe()
                }

                fn configure(tables: Vec<Table>, settings: Vec<(String, String)>) -> Result<Plan, String> {
                    std::panic::set_hook(Box::new(|panic| {
                        // `panicked at src/lib.rs:1:2: why`, on one line.
                        $crate::log::log($crate::log::Level::Error, &panic.to_string().replacen('\n', " ", 1));
                    }));
                    let (instance, plan) = $crate::native::Instance::configure(&tables, settings)?;
                    INSTANCE.set(instance).map_err(|_| "an instance is configured once".to_string())?;
                    Ok(plan)
                }

                fn transform(batch: Batch) -> Result<Output, String> {
                    INSTANCE.get().ok_or("transform comes after configure")?.transform(&batch)
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}
