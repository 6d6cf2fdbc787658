import "./workers.js";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import "@graphiql/plugin-explorer/style.css";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import "graphiql/style.css";
import { createRoot } from "react-dom/client";

import { accountPlugin } from "./account.jsx";
import { costPlugin } from "./cost.jsx";
import { EXAMPLES, HEADERS } from "./examples.js";
import { fetcher } from "./fetcher.js";
import icon from "./icon.svg";
import "./page.css";

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultHeaders={HEADERS}
    defaultTabs={EXAMPLES}
    defaultEditorToolsVisibility="headers"
    plugins={[HISTORY_PLUGIN, explorerPlugin(), accountPlugin, costPlugin]}
  >
    <GraphiQL.Logo>
      <span className="commonweal-logo">
        <img src={new URL(icon, import.meta.url).href} alt="" />
        Commonweal
      </span>
    </GraphiQL.Logo>
  </GraphiQL>,
);
