// What the selected head attends to on the example's own tokens.
const attentionOf = () => [];
