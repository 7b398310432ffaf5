// Preloaded with --import: TypeScript from its source in this thread and in worker threads, where tsx alone does not reach.

import { register } from "tsx/esm/api";

register();
