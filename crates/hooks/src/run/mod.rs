//! One run of a model: its batch, its sites and the hooks on them.

mod at;
mod batch;
mod hook;
mod model;
mod probe;
mod record;
mod site;

pub use at::{HookAt, SiteKind, at};
pub use batch::{Batch, Rows};
pub use hook::Hook;
pub use model::{HeadWeights, HookedModel, Part};
pub use probe::Probe;
pub use record::Recorder;
pub use site::{Heads, Site, Stream};
