//! What the heads of a checkpoint attend to, and what their weights do to tokens.

use circuits::{Attended, Relation, TokenScores};
use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::as_text::text;

/// Every head of one checkpoint, on the clean prompts of one suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadRoles {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// Name of the suite.
    pub suite: String,
    /// One entry a head, layer by layer.
    pub heads: Vec<HeadRole>,
    /// Attention on one prompt, token by token; for the base and the last checkpoint of each training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<AttentionExample>,
}

/// One head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadRole {
    /// Which head.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub head: Head,
    /// The relation that it is named after, if any has at least 0.4 of its attention and twice what equal attention would
    /// give.
    pub role: Option<Relation>,
    /// Its attention by relation.
    pub attended: Vec<Attended>,
    /// Its OV and QK matrices.
    pub scores: TokenScores,
}

/// Attention on the clean prompt of one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttentionExample {
    /// Id of the pair.
    pub pair: String,
    /// The text of each token.
    pub tokens: Vec<String>,
    /// Heads of the checkpoint's circuit or of the base's, by the first rule.
    pub heads: Vec<HeadAttention>,
}

/// Attention of one head on the example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadAttention {
    /// Which head.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub head: Head,
    /// One row a query token: attention to the tokens up to it, thousandths.
    pub rows: Vec<Vec<u16>>,
}
