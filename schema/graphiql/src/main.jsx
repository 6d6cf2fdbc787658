import "./workers.js";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import "@graphiql/plugin-explorer/style.css";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import "graphiql/style.css";
import { createRoot } from "react-dom/client";

import { EXAMPLES, HEADERS } from "./examples.js";
import icon from "./icon.svg";
import "./page.css";

// The page stands at the API's own address, also behind a proxy that adds a prefix.
const fetcher = createGraphiQLFetcher({
  url: window.location.pathname,
  enableIncrementalDelivery: false, // the API answers every operation whole
});

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultHeaders={HEADERS}
    defaultTabs={EXAMPLES}
    defaultEditorToolsVisibility="headers"
    plugins={[HISTORY_PLUGIN, explorerPlugin()]}
  >
    <GraphiQL.Logo>
      <span className="commonweal-logo">
        <img src={new URL(icon, import.meta.url).href} alt="" />
        Commonweal
      </span>
    </GraphiQL.Logo>
  </GraphiQL>,
);
