//! Parts of a model: logits of a piece of the residual stream, weights of one head.

use burn::tensor::{Int, Tensor, TensorData};
use hooks::{Head, HeadWeights, HookedModel as _};

use crate::Qwen;
use crate::projection::{in_f32, linear};

impl Qwen {
    /// [`hooks::HookedModel::read_out`].
    pub(crate) fn read(&self, resid: &Tensor<3>, write: &Tensor<3>, tokens: Option<&[u32]>) -> Tensor<3> {
        let scale = (resid.clone().square().mean_dim(2) + self.config.norm_eps).sqrt();
        let normed = write.clone() / scale * self.norm.clone().unsqueeze();
        match tokens {
            None => linear(&normed, self.unembed(), None),
            Some(tokens) => {
                let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
                let ids = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &self.device());
                linear(&normed, &self.unembed().clone().select(0, ids), None)
            }
        }
    }

    /// [`hooks::HookedModel::head_weights`].
    pub(crate) fn weights_of(&self, head: Head) -> HeadWeights {
        let (c, block) = (&self.config, &self.blocks[head.layer]);
        assert!(head.head < c.n_heads, "{head} is outside the model");
        let kv = self.wiring().kv_head(head.head);
        // A head's rows of a projection, between the weight of the block's norm and that of its own.
        let of = |weight: &Tensor<2>, at: usize, own: Option<&Tensor<1>>| {
            let rows = in_f32(&weight.clone().slice([at * c.d_head..(at + 1) * c.d_head, 0..c.d_model]));
            let matrix = (rows * in_f32(&block.attn_norm.clone().unsqueeze())).transpose();
            match own {
                Some(own) => matrix * in_f32(&own.clone().unsqueeze()),
                None => matrix,
            }
        };
        let [q_norm, k_norm] = block.qk_norms.as_ref().map_or([None, None], |[q, k]| [Some(q), Some(k)]);
        let columns = head.head * c.d_head..(head.head + 1) * c.d_head;
        HeadWeights {
            query: of(&block.query, head.head, q_norm),
            key: of(&block.key, kv, k_norm),
            value: of(&block.value, kv, None),
            output: in_f32(&block.output.clone().slice([0..c.d_model, columns])).transpose(),
        }
    }
}
